package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
	"pingline/track"
	"pingline/track/tracktest"
)

// Killed five times while InfluxDB is away for the whole of it: every answer
// holds once it is back.
func TestKilledWithoutInflux(t *testing.T) {
	influx := startInflux(t)
	influx.Kill()
	dir, listen := t.TempDir(), freePort(t)
	rng := rand.New(rand.NewPCG(13, 14))
	p := serve(t, dir, influx.URL(), "--listen="+listen)
	tr := driveOften(t, p.url, 5000)
	for range 5 {
		tr.more(1000 + rng.Uint64N(6000))
		p.kill()
		p = serve(t, dir, influx.URL(), "--listen="+listen)
	}
	tr.more(2000)
	if err := influx.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	tr.stop()
	p.settled()
	dropsSome(t, restartAndAudit(t, p, tr, dir, influx.URL()))
}

// Killed five times, and started again with another bound each time: each answer
// holds by the bound that it named.
func TestKilledWithOtherBounds(t *testing.T) {
	influx := startInflux(t)
	dir, listen := t.TempDir(), freePort(t)
	rng := rand.New(rand.NewPCG(15, 16))
	p := serve(t, dir, influx.URL(), "--listen="+listen, "--max-error=40", "--accuracy-cap=100")
	tr := driveOften(t, p.url, 5000)
	for _, bounds := range [][]string{
		{"--max-error=5", "--accuracy-cap=0"},
		{"--max-error=25", "--accuracy-cap=0", "--live-gap=0s"},
		{"--max-error=0", "--accuracy-cap=50"},
		{"--max-error=50", "--accuracy-cap=50", "--max-gap=20s"},
		{"--max-error=2", "--accuracy-cap=10", "--idle-flush=1s"},
	} {
		tr.more(1000 + rng.Uint64N(6000))
		p.kill()
		p = serve(t, dir, influx.URL(), append(bounds, "--listen="+listen)...)
	}
	tr.more(2000)
	tr.stop()
	dropsSome(t, restartAndAudit(t, p, tr, dir, influx.URL()))
}

// Tracks are sent in part, flushed, written and trimmed; then the process stops,
// or is killed, or loses its checkpoint, or comes back with too small a filter;
// and then comes what was left out of the tracks, and what was sent before.
func TestForgottenIsNotNew(t *testing.T) {
	long(t)
	beside(t)
	influx := startInflux(t)
	dir := t.TempDir()
	pings := madeUp(8, 400)
	for _, file := range []tracktest.Habit{tracktest.EverySecond, tracktest.EveryFew} {
		pings = append(pings, tracksOf(t, file)...)
	}
	// The roll-up would hold the log back for as long as its windows are open.
	flags := []string{"--queue-max-bytes=4MiB", "--idle-flush=1s", "--accuracy-cap=0", "--rollup=off"}
	p := serve(t, dir, influx.URL(), flags...)
	c := &client{t: t, ledger: audit.NewLedger()}
	c.send(p.url, everyFifth(pings, 0))
	c.send(p.url, everyFifth(pings, 1))
	for i, end := range []struct {
		name  string
		end   func()
		flags []string
	}{
		{"stopped", func() { p.terminate() }, nil},
		{"killed", func() { p.kill() }, nil},
		{"stopped, a filter too small", func() { p.terminate() }, []string{"--max-riders=2"}},
		{"killed, its checkpoint deleted", func() { p.kill(); deleteCheckpoints(t, dir) }, nil},
	} {
		eventually(t, "nothing is held", func() bool { n, err := p.metric("pingline_holding"); return err == nil && n == 0 })
		p.settled()
		end.end()
		p = serve(t, dir, influx.URL(), append(end.flags, flags...)...)
		if i == 0 { // the log is kept from the checkpoint before the newest on
			c.send(p.url, pings[2:3])
			eventually(t, "nothing is held", func() bool { n, err := p.metric("pingline_holding"); return err == nil && n == 0 })
			p.settled()
			p.terminate()
			p = serve(t, dir, influx.URL(), flags...)
			eventually(t, "the log is trimmed", func() bool { n, err := p.metric("pingline_queue_bytes"); return err == nil && n < 32<<10 })
		}
		// Few, so that what was dropped is not stored after all.
		others, before := everyFifth(everyFifth(pings, 2+i%3), i), everyFifth(everyFifth(pings, i%2), i)
		t.Logf("%s: %v of %d others", end.name, c.send(p.url, others), len(others))
		t.Logf("%s: %v of %d sent before", end.name, c.send(p.url, before), len(before))
	}
	eventually(t, "nothing is held", func() bool { n, err := p.metric("pingline_holding"); return err == nil && n == 0 })
	p.settled()
	tr := &traffic{t: t, ledger: c.ledger}
	dropsSome(t, tr.audit(influx.URL()))
	t.Logf("all of it again: %v", c.send(p.url, pings))
	restartAndAudit(t, p, tr, dir, influx.URL())
}

func everyFifth(pings []pingline.Ping, from int) (some []pingline.Ping) {
	for i := from; i < len(pings); i += 5 {
		some = append(some, pings[i])
	}
	return some
}

func deleteCheckpoints(t *testing.T, dir string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "filter", "*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no checkpoint to delete: %v", err)
	}
	for _, path := range list {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// client sends pings and keeps the books of what was answered.
type client struct {
	t      *testing.T
	ledger *audit.Ledger
}

// send sends pings in requests of 500 and returns how many had which verdict.
func (c *client) send(url string, pings []pingline.Ping) map[string]int {
	c.t.Helper()
	counts := map[string]int{}
	for batch := range slices.Chunk(pings, 500) {
		verdicts, resp := c.request(url, batch)
		if resp.StatusCode != http.StatusOK {
			c.t.Fatalf("%d pings: %s", len(batch), resp.Status)
		}
		for _, v := range verdicts {
			counts[v.String()]++
		}
	}
	return counts
}

// request sends one request and returns the verdict of each ping, if the status
// is 200.
func (c *client) request(url string, pings []pingline.Ping) ([]pingline.Verdict, *http.Response) {
	c.t.Helper()
	body := []byte{'['}
	for i := range pings {
		if i > 0 {
			body = append(body, ',')
		}
		body = track.AppendPing(body, &pings[i])
	}
	resp, err := http.Post(url+"/v1/pings?verdicts=1", "application/json", bytes.NewReader(append(body, ']')))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, resp
	}
	var said struct {
		MaxError    float32 `json:"max_error"`
		AccuracyCap float32 `json:"accuracy_cap"`
		Verdicts    []string
	}
	if err := json.NewDecoder(resp.Body).Decode(&said); err != nil || len(said.Verdicts) != len(pings) {
		c.t.Fatalf("answer to %d pings, with %d verdicts: %v", len(pings), len(said.Verdicts), err)
	}
	verdicts := make([]pingline.Verdict, len(pings))
	for i, name := range said.Verdicts {
		for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
			if v.String() == name {
				verdicts[i] = v
			}
		}
		c.ledger.Add(&pings[i], verdicts[i], said.MaxError, said.AccuracyCap)
	}
	return verdicts, resp
}

// tracksOf returns the pings of a set of tracks, each rider's moved in time so that
// the newest was made just now.
func tracksOf(t *testing.T, kind tracktest.Habit) (pings []pingline.Ping) {
	t.Helper()
	r, err := track.Open(tracktest.Find(t, kind).Path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	newest := map[string]int64{}
	for {
		p, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
		newest[p.Rider] = max(newest[p.Rider], p.At)
	}
	now := time.Now().UnixMilli()
	for i := range pings {
		pings[i].At += now - newest[pings[i].Rider]
	}
	return pings
}

// madeUp returns pings of riders who drive, turn and stop, one every 5 s, up to
// now.
func madeUp(riders, rounds int) (pings []pingline.Ping) {
	rng := rand.New(rand.NewPCG(5, 6))
	now := time.Now().UnixMilli()
	for i := range riders {
		lat, lon, course, speed := 41+rng.Float64()/10, -8+rng.Float64()/10, 6*rng.Float64(), 10.0
		for round := range rounds {
			switch rng.IntN(8) {
			case 0:
				course += rng.NormFloat64()
			case 1:
				speed = max(0, 20*rng.Float64()-5)
			}
			lat += speed * 5 / 111e3 * math.Cos(course)
			lon += speed * 5 / 84e3 * math.Sin(course)
			p := pingline.Ping{Rider: fmt.Sprint("made-up-", i), Fix: pingline.Fix{At: now - int64(rounds-round)*5000}}
			if err := p.SetPosition(lat, lon); err != nil {
				panic(err)
			}
			pings = append(pings, p)
		}
	}
	slices.SortStableFunc(pings, func(a, b pingline.Ping) int { return cmp.Compare(a.At, b.At) })
	return pings
}
