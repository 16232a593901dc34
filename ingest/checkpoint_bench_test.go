package ingest

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/queue"
)

// BenchmarkCheckpoint saves the state of a million tracks while commits of 100
// pings go on, and tells what that costs: the writer's longest stop and its time
// altogether, also as a share of the five minutes between two checkpoints.
func BenchmarkCheckpoint(b *testing.B) {
	if testing.Short() {
		b.Skip("a million tracks take long to make")
	}
	const tracks = 1_000_000
	log, dir := testLog(b, queue.Config{MaxBytes: 64 << 30}), b.TempDir()
	w, err := OpenWriter(context.Background(), WriterConfig{
		Log: log, Dir: dir, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50},
		CheckpointEvery: time.Hour, CheckpointEntries: 1 << 40,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	c, j := newCrowd(tracks), new(Job)
	commit := func(pings int) {
		c.fill(j, pings)
		if err := w.prepare(j); err != nil {
			b.Fatal(err)
		}
		if err := w.commitOne(context.Background(), j, false); err != nil {
			b.Fatal(err)
		}
		if err := <-j.done; err != nil {
			b.Fatal(err)
		}
	}
	for range 12 * tracks / 10_000 {
		commit(10_000)
	}
	var total checkpointCost
	var file int64
	for b.Loop() {
		w.checkpoint.due = time.Now()
		commit(100)
		for w.checkpoint.saved != nil {
			commit(100)
		}
		cost := w.checkpoint.cost
		total.busy += cost.busy
		total.pieces += cost.pieces
		total.stop = max(total.stop, cost.stop)
		list, err := statefile.List(dir)
		if err != nil || len(list) == 0 {
			b.Fatalf("no checkpoint was saved: %v", err)
		}
		info, err := os.Stat(list[0])
		if err != nil {
			b.Fatal(err)
		}
		file = info.Size()
	}
	n := float64(b.N)
	b.ReportMetric(float64(total.stop.Microseconds())/1000, "ms-longest-stop")
	b.ReportMetric(float64(total.busy.Microseconds())/float64(total.pieces), "µs/piece")
	b.ReportMetric(float64(total.busy.Milliseconds())/n, "ms-writer")
	b.ReportMetric(100*total.busy.Seconds()/n/300, "%-of-5min")
	b.ReportMetric(float64(file)/(1<<20), "MiB")
	b.ReportMetric(float64(file)/tracks, "bytes/track")
}
