package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"pingline/internal/influxd"
	"pingline/internal/pause"
)

// shards are the names of the InfluxDB servers.
var shards = [...]string{"a", "b"}

// keeps is how long the servers keep points while the directory is made.
const keeps = 7 * 24 * time.Hour

// making is a data directory that is being made.
type making struct {
	binary, dir, data string

	servers []*influxd.Server
	node    *running
	step    int               // of the riders on their way
	sent    []json.RawMessage // pings of each verdict, to be sent again
}

func (m *making) close() {
	if m.node != nil {
		m.node.kill()
	}
	for _, s := range m.servers {
		_ = s.Close()
	}
}

// refuseSome fills the dead letters: with rows older than the store keeps, taken
// before the node knew its retention, and with rows whose fields have another type
// in the store.
func (m *making) refuseSome(ctx context.Context) error {
	now := time.Now()
	old := now.Add(-2 * 24 * time.Hour)
	for _, shard := range shards {
		s, err := influxd.Start(ctx, influxd.Config{Dir: filepath.Join(m.dir, "influx-"+shard), Retention: keeps})
		if err != nil {
			return err
		}
		m.servers = append(m.servers, s)
		var lines strings.Builder
		fmt.Fprintf(&lines, "location,rider=stranger event=1.5 %d\n", old.UnixNano())
		for _, day := range []int{0, 1} {
			fmt.Fprintf(&lines, "cell_activity,res=8 pings=\"x\" %d\n", now.Add(time.Duration(day)*24*time.Hour).UnixNano())
		}
		if err := post(ctx, s.URL()+"/write?db=pingline", lines.String()); err != nil {
			return err
		}
		s.Kill()
	}
	var err error
	if m.node, err = serve(ctx, m.binary, m.data, m.servers); err != nil {
		return err
	}
	for i, p := range places {
		for k := range 4 {
			at := now.Add(-10*24*time.Hour).UnixMilli() + int64(k)*60_000
			if err := m.send(ctx, &sentPing{Rider: fmt.Sprintf("older-%d", i), TS: at, Lat: p.lat, Lon: p.lon + float64(k)/100, Speed: 7.25, Trip: "t-old"}); err != nil {
				return err
			}
		}
		for k := range 3 {
			at := old.UnixMilli() + int64(k)*60_000
			if err := m.send(ctx, &sentPing{Rider: fmt.Sprintf("other-type-%d", i), Device: "d-1", TS: at, Lat: p.lat, Lon: p.lon, Event: "sos"}); err != nil {
				return err
			}
		}
	}
	if err := m.ride(ctx, 4); err != nil {
		return err
	}
	for _, s := range m.servers {
		if err := s.Restart(ctx); err != nil {
			return err
		}
	}
	return m.node.settled(ctx)
}

// letWait leaves rows of every lane in the log: first one shard is stopped, then
// the second, so that their cursors differ.
func (m *making) letWait(ctx context.Context) error {
	m.servers[0].Kill()
	if err := m.ride(ctx, 5); err != nil {
		return err
	}
	if err := m.node.written(ctx, "b"); err != nil {
		return err
	}
	m.servers[1].Kill()
	if err := m.ride(ctx, 5); err != nil {
		return err
	}
	if err := m.backlog(ctx, "behind", time.Hour); err != nil {
		return err
	}
	if err := m.replay("--reason=retention", "--shard=a"); err != nil {
		return err
	}
	// Our own lines: the points of the roll-up and of the node itself.
	if err := m.node.waits(ctx, "own", 8); err != nil {
		return err
	}
	return m.ride(ctx, 2)
}

// getAhead puts commits into the log that no checkpoint knows.
func (m *making) getAhead(ctx context.Context) error {
	var err error
	if m.node, err = serve(ctx, m.binary, m.data, m.servers); err != nil {
		return err
	}
	if err := m.ride(ctx, 6); err != nil {
		return err
	}
	if err := m.backlog(ctx, "ahead", 2*time.Hour); err != nil {
		return err
	}
	return m.ride(ctx, 3)
}

// places are far from each other: their cells are in both shards.
var places = []struct{ lat, lon float64 }{
	{41.15, -8.62}, {52.52, 13.4}, {-33.86, 151.2}, {-1.29, 36.82},
}

// ride sends pings of riders on their way: some turn at each ping, so that it is
// stored, some go straight, so that most pings are redundant; with events, trips,
// devices and duplicates.
func (m *making) ride(ctx context.Context, steps int) error {
	for range steps {
		m.step++
		at := time.Now().UnixMilli()
		for i, p := range places {
			k := float64(m.step)
			turn := math.Mod(k, 2) / 200
			battery := 1 - k/100
			list := []*sentPing{
				{Rider: fmt.Sprintf("turns-%d", i), TS: at, Lat: p.lat + turn, Lon: p.lon + k/500, Speed: 12.5, Heading: 90, Accuracy: 5, Altitude: 80.5, Battery: battery},
				{Rider: fmt.Sprintf("stands-%d", i), Device: "phone", TS: at, Lat: p.lat, Lon: p.lon, Trip: fmt.Sprintf("trip-%d", m.step/6)},
			}
			if (m.step+i)%4 == 0 {
				list = append(list, &sentPing{Rider: fmt.Sprintf("stands-%d", i), Device: "watch", TS: at, Lat: p.lat, Lon: p.lon, Event: "trip_start"})
			}
			if (m.step+i)%5 == 0 {
				list = append(list, list[0]) // a duplicate
			}
			if err := m.send(ctx, list...); err != nil {
				return err
			}
		}
		if err := pause.For(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// backlog sends pings from the past: of known riders, whose pings are late, and of
// new riders.
func (m *making) backlog(ctx context.Context, name string, ago time.Duration) error {
	from := time.Now().Add(-ago).UnixMilli()
	for i, p := range places {
		var list []*sentPing
		for k := range 10 {
			step := float64(k)
			at := from + int64(k)*20_000
			list = append(list,
				&sentPing{Rider: fmt.Sprintf("%s-%d", name, i), TS: at, Lat: p.lat + step/400, Lon: p.lon + math.Mod(step, 3)/300, Accuracy: 8},
				&sentPing{Rider: fmt.Sprintf("turns-%d", i), TS: at, Lat: p.lat - step/400, Lon: p.lon})
		}
		for _, back := range []int64{2500, 4500, 6500} { // beside pings that were dropped
			list = append(list, &sentPing{Rider: fmt.Sprintf("stands-%d", i), Device: "phone", TS: time.Now().UnixMilli() - back, Lat: p.lat + 0.02, Lon: p.lon})
		}
		if err := m.send(ctx, list...); err != nil {
			return err
		}
	}
	return nil
}

// send sends pings, and keeps a few to be sent again, of each verdict.
func (m *making) send(ctx context.Context, list ...*sentPing) error {
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	verdicts, err := m.node.send(ctx, body)
	if err != nil {
		return err
	}
	for i, v := range verdicts {
		if v == "rejected" || v == "shed" {
			return fmt.Errorf("%s: a ping is %s", body, v)
		}
		if m.node.seen[v]++; m.node.seen[v]%7 == 1 {
			text, err := json.Marshal(list[i])
			if err != nil {
				return err
			}
			m.sent = append(m.sent, text)
		}
	}
	return nil
}

// replay moves dead letters to where a node takes them up.
func (m *making) replay(args ...string) error {
	_, err := output(m.binary, append([]string{"deadletter", "replay", "--data-dir=" + m.data}, args...)...)
	return err
}

// sentPing is a ping as phones send it.
type sentPing struct {
	Rider    string  `json:"rider_id"`
	Device   string  `json:"device_id,omitempty"`
	TS       int64   `json:"ts"`
	Lat      float64 `json:"lat"`
	Lon      float64 `json:"lon"`
	Speed    float64 `json:"speed,omitempty"`
	Heading  float64 `json:"heading,omitempty"`
	Accuracy float64 `json:"accuracy,omitempty"`
	Altitude float64 `json:"altitude,omitempty"`
	Battery  float64 `json:"battery,omitempty"`
	Event    string  `json:"event,omitempty"`
	Trip     string  `json:"trip_id,omitempty"`
}

func post(ctx context.Context, url, body string) error {
	resp, err := request(ctx, http.MethodPost, url, body)
	if err == nil && resp.status/100 != 2 {
		err = fmt.Errorf("POST %s: status %d: %s", url, resp.status, resp.text)
	}
	return err
}
