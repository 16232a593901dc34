package main

import (
	"bytes"
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/queue"
	"pingline/sim"
)

// The table of what is kept, on the tracks it was measured on: of each interval
// it has the set of which more is kept.
func TestKeptIsMeasured(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recordedTracks, "*.ndjson*"))
	if err != nil || len(files) == 0 {
		t.Skip("recorded tracks are not here: ../shared/data/gps is absent")
	}
	for _, x := range keptByInterval {
		most := 0.0
		for _, name := range []string{"dev_1hz_mixed", "dev_gotrack_5s_bus20s"} {
			if name == "dev_gotrack_5s_bus20s" && x.x < 5 {
				continue // they send too rarely
			}
			interval := time.Duration(x.x * float64(time.Second))
			got := plans(t, "--riders=1000", "--interval="+interval.String(), "--track="+filepath.Join(recordedTracks, name+".ndjson.gz"))
			t.Logf("%v: %.3f of %s", interval, got.Kept, name)
			most = math.Max(most, got.Kept)
		}
		if most > x.y+0.005 || most < x.y-0.01 {
			t.Errorf("of a ping in %v s %.3f is kept, the table has %.3f", x.x, most, x.y)
		}
	}
}

// The bytes of pings in the log and of points on the way to InfluxDB, on rides
// of the simulated city.
func TestPlanKnowsTheBytes(t *testing.T) {
	f := newFigures()
	for _, request := range []int{1, 500} { // pings
		log, st, _ := fillLog(t, request)
		want := float64(log.LastTotals()[pingline.TotalPings]+st.Promoted)*f.entry.Value + float64(st.Commits)*f.commit.Value
		if got := float64(log.Bytes()); got > 1.05*want || got < 0.9*want {
			t.Errorf("requests of %d: %v bytes in the log, the plan says %v", request, got, want)
		}
	}
	_, _, lines := fillLog(t, 500)
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(bytes.Join(lines[:5000], nil)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if got := float64(packed.Len()) / 5000; got > f.gzip.Value || got < 0.8*f.gzip.Value {
		t.Errorf("%v bytes a point are sent, the plan says %v", got, f.gzip.Value)
	}
}

// fillLog lets the writer judge rides of a city, in requests of so many pings,
// and returns their lines, too.
func fillLog(t *testing.T, request int) (log *queue.Log, st ingest.WriterStats, lines [][]byte) {
	t.Helper()
	log, err := queue.Open(t.Context(), queue.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	w, err := ingest.OpenWriter(t.Context(), ingest.WriterConfig{
		Log: log, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}, Node: "node-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	city, err := sim.NewCity(sim.CityConfig{Riders: 500})
	if err != nil {
		t.Fatal(err)
	}
	cells, err := partition.NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	every, j := city.Interval().Milliseconds(), new(ingest.Job)
	at := time.Now().Add(-time.Hour).UnixMilli()
	for range 2 + request/10 {
		for i := range city.Riders() {
			p := city.Ping(i, at-every, at)
			e := pingline.Entry{Ping: p, Cell: cells.Of(&p.Fix)}
			lines = append(lines, pingline.AppendLine(nil, &e))
			j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, e.Cell)
			if len(j.Pings) < request {
				continue
			}
			if err := w.Submit(j); err != nil {
				t.Fatal(err)
			}
			j = new(ingest.Job)
		}
		at += every
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return log, w.Stats(), lines
}
