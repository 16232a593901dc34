package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sim/audit"
)

// activity is what a total of cell_activity says, but for speeds.
type activity struct{ pings, riders, moving, waiting int64 }

// activityOf counts pings that InfluxDB should know as cell_activity, by cell,
// window and time.
func activityOf(t *testing.T, pings []pingline.Ping) map[string]activity {
	t.Helper()
	cells, err := partition.NewCells(8)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]activity{}
	moving := map[string]bool{} // by total and rider
	for i := range pings {
		p := &pings[i]
		for _, res := range []int{8, 6, 4} {
			cell := partition.Parent(cells.Exact(&p.Fix), res)
			for _, w := range []time.Duration{10 * time.Second, time.Minute} {
				name := strings.TrimSuffix(w.String(), "0s")
				if w < time.Minute {
					name = w.String()
				}
				k := fmt.Sprintf("%x %s %d", cell, name, p.At-p.At%w.Milliseconds())
				a := counts[k]
				a.pings++
				was, seen := moving[k+p.Rider]
				now := was || p.Speed >= 0.5
				moving[k+p.Rider] = now
				if !seen {
					a.riders++
				}
				if now && !was {
					a.moving++
				}
				a.waiting = a.riders - a.moving
				counts[k] = a
			}
		}
	}
	return counts
}

// query asks InfluxDB 1.8 and returns the rows of all series, each by column and
// tag.
func ask(t *testing.T, influxURL, q string) (rows []map[string]any) {
	t.Helper()
	resp, err := http.Get(influxURL + "/query?" + url.Values{"db": {"pingline"}, "epoch": {"ms"}, "q": {q}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var said struct {
		Results []struct {
			Error  string
			Series []struct {
				Tags    map[string]string
				Columns []string
				Values  [][]any
			}
		}
	}
	decoder := json.NewDecoder(resp.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&said); err != nil || len(said.Results) != 1 || said.Results[0].Error != "" {
		t.Fatalf("%s: %v %+v", q, err, said)
	}
	for _, s := range said.Results[0].Series {
		for _, values := range s.Values {
			row := map[string]any{}
			for k, v := range s.Tags {
				row[k] = v
			}
			for i, v := range values {
				row[s.Columns[i]] = v
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func number(t *testing.T, v any) int64 {
	t.Helper()
	n, ok := v.(json.Number)
	i, err := strconv.ParseInt(n.String(), 10, 64)
	if !ok || err != nil {
		t.Fatalf("%v is no integer: %v", v, err)
	}
	return i
}

func storedActivity(t *testing.T, influxURL string) map[string]activity {
	t.Helper()
	stored := map[string]activity{}
	for _, row := range ask(t, influxURL, "SELECT pings, riders, moving, waiting FROM cell_activity GROUP BY *") {
		k := fmt.Sprint(row["cell"], " ", row["window"], " ", row["time"])
		stored[k] = activity{number(t, row["pings"]), number(t, row["riders"]), number(t, row["moving"]), number(t, row["waiting"])}
	}
	return stored
}

// recently returns pings of riders of a town who sent them in the last seconds.
func recently(rng *rand.Rand, riders, seconds int) (pings []pingline.Ping) {
	now := time.Now().UnixMilli()
	for i := range riders {
		lat, lon, course := 41.1+rng.Float64()/20, -8.6+rng.Float64()/20, 6*rng.Float64()
		for s := range seconds / 3 {
			v := float64(i%3) * 4
			lat += v * 3 / 111e3 * math.Cos(course)
			lon += v * 3 / 84e3 * math.Sin(course)
			p := pingline.Ping{Rider: fmt.Sprint("rider-", i), Fix: pingline.Fix{At: now - int64(seconds-3*s)*1000 + rng.Int64N(1000)}}
			if err := p.SetPosition(lat, lon); err != nil {
				panic(err)
			}
			p.SetOptional(pingline.HasSpeed, v)
			pings = append(pings, p)
		}
	}
	rng.Shuffle(len(pings), func(i, j int) { pings[i], pings[j] = pings[j], pings[i] })
	return pings
}

// The activity that InfluxDB holds in the end is that of the pings answered
// accepted, held or redundant, though the process is killed on the way; and it
// knows what the processes said of themselves.
func TestActivityEqualsRecount(t *testing.T) {
	influx := startInflux(t)
	dir, args := t.TempDir(), []string{"--node=n 1", "--rollup-lateness=10m"}
	rng := rand.New(rand.NewPCG(1, 2))
	p := serve(t, dir, influx.URL(), args...)
	var counted []pingline.Ping
	total := func() uint64 { n, _ := p.metric("pingline_rollup_pings_total"); return uint64(n) }
	for part := range 4 {
		pings := recently(rng, 40, 90)
		for i := range pings {
			pings[i].Rider += fmt.Sprint("-", part)
		}
		c := &client{t: t, ledger: audit.NewLedger()}
		for batch := range slices.Chunk(pings, 300) {
			verdicts, resp := c.request(p.url, batch)
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%d pings: %s", len(batch), resp.Status)
			}
			for i, v := range verdicts {
				if v == pingline.Accepted || v == pingline.Held || v == pingline.Redundant {
					counted = append(counted, batch[i])
				}
			}
		}
		if part%2 == 0 {
			eventually(t, "pings are counted", func() bool { return total() >= uint64(len(pings)) })
		}
		if part < 3 {
			p.kill()
			p = serve(t, dir, influx.URL(), args...)
		}
	}
	checkCells(t, p, len(counted))
	eventually(t, "something is written", func() bool {
		n, err := p.metric(`pingline_written_total{shard="a"}`)
		return err == nil && n > 0
	})
	if status := p.terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM", status)
	}
	p = serve(t, dir, influx.URL(), args...)
	p.settled()
	want, got := activityOf(t, counted), storedActivity(t, influx.URL())
	wrong := 0
	for k, a := range want {
		if got[k] != a {
			if wrong++; wrong < 5 {
				t.Errorf("%s is %+v, want %+v", k, got[k], a)
			}
		}
	}
	if wrong > 0 || len(got) != len(want) || len(want) < 200 {
		t.Errorf("%d of %d totals are wrong, %d are stored", wrong, len(want), len(got))
	}
	t.Logf("%d pings, %d totals", len(counted), len(want))
	checkSelf(t, influx.URL())
}

// checkCells checks that the live view has the newest of what was sent.
func checkCells(t *testing.T, p *process, most int) {
	t.Helper()
	eventually(t, "the live view has cells", func() bool {
		resp, err := http.Get(p.url + "/v1/cells?bbox=-9,41,-8,42&res=6")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("cells: %s %v: %s", resp.Status, err, text)
		}
		var said struct {
			Features []struct {
				Properties struct{ Res, Pings, Riders, Moving, Waiting int }
			}
		}
		if err := json.Unmarshal(text, &said); err != nil {
			t.Fatal(err)
		}
		for _, f := range said.Features {
			if a := f.Properties; a.Res != 6 || a.Pings < a.Riders || a.Pings > most || a.Moving+a.Waiting != a.Riders {
				t.Errorf("a cell: %+v", a)
			}
		}
		return len(said.Features) > 0
	})
}

// checkSelf checks what the processes said of themselves.
func checkSelf(t *testing.T, influxURL string) {
	t.Helper()
	for _, of := range []struct {
		measurement, tags, fields string
	}{
		{"pingline", "node", "received accepted held redundant duplicate shed rejected promoted covered holding level queue_bytes rollup_pings rollup_late"},
		{"pingline_shard", "node shard", "written breaker write_p99_ms freshness_p99_s"},
		{"pingline_lane", "node shard lane", "waiting oldest_s"},
	} {
		rows := ask(t, influxURL, "SELECT * FROM "+of.measurement)
		if len(rows) == 0 {
			t.Errorf("nothing is said of %s", of.measurement)
			continue
		}
		for _, column := range strings.Fields(of.tags + " " + of.fields) {
			known := false
			for _, row := range rows {
				known = known || row[column] != nil
			}
			if !known {
				t.Errorf("%s has no %s: %v", of.measurement, column, rows[0])
			}
		}
		if node := rows[0]["node"]; node != "n 1" {
			t.Errorf("%s of node %v", of.measurement, node)
		}
	}
}

// Turned off, nothing is counted, and the log keeps nothing for it.
func TestRollupOff(t *testing.T) {
	dir := t.TempDir()
	p := serve(t, dir, "http://127.0.0.1:1")
	if _, err := p.metric("pingline_rollup_pings_total"); err != nil {
		t.Error(err)
	}
	p.terminate()
	p = serve(t, dir, "http://127.0.0.1:1", "--rollup=off")
	if _, err := p.metric("pingline_rollup_pings_total"); err == nil {
		t.Error("pings are counted though the roll-up is off")
	}
	resp, err := http.Get(p.url + "/v1/cells?bbox=-9,41,-8,42")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("cells: %s", resp.Status)
	}
}
