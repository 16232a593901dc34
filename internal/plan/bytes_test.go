package plan

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/queue"
	"pingline/sim"
	"pingline/sink/influx"
)

// The bytes of pings in the log and of points on the way to InfluxDB, on rides
// of the simulated city.
func TestPlanKnowsTheBytes(t *testing.T) {
	f := NewFigures(0)
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
	// The city is always that of this hour, since its rides depend on it, and its pings are an
	// hour old: the log has their age.
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC).UnixMilli()
	younger := time.Now().Add(-time.Hour).UnixMilli() - at
	for range 2 + request/10 {
		for i := range city.Riders() {
			p := city.Ping(i, at-every, at)
			p.At += younger
			e := pingline.Entry{Ping: p, Cell: cells.Of(&p.Fix)}
			lines = append(lines, influx.AppendLine(nil, &e))
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

// A point decoded, written as a line and packed: the figure line_ns.
func BenchmarkLine(b *testing.B) {
	city, err := sim.NewCity(sim.CityConfig{Riders: 10_000}) // too many for a processor's cache
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UnixMilli()
	commit := pingline.AppendCommitHeader(nil, &pingline.CommitHeader{Node: "node-1", At: now})
	pingline.SetCommitEntries(commit, 5000)
	for i := range 5000 {
		e := pingline.Entry{Ping: city.Ping(i, now-1, now), Verdict: pingline.Accepted, Cell: 0x8539220ffffffff}
		commit = pingline.AppendEntry(commit, &e, now)
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	var lines []byte
	b.ReportAllocs()
	for b.Loop() {
		_, entries, err := pingline.DecodeCommit(commit)
		lines = lines[:0]
		var e pingline.Entry
		for more := true; more && err == nil; {
			if more, err = entries.Next(&e); more {
				lines = influx.AppendLine(lines, &e)
			}
		}
		packed.Reset()
		z.Reset(&packed)
		_, werr := z.Write(lines)
		if err := errors.Join(err, werr, z.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*5000), "ns/point")
}
