package ingest_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/internal/follow"
	"pingline/queue"
)

// BenchmarkFollowed has a writer acknowledge requests of 100 pings, with and without a node in this process that reads
// the log along, in turns of 250 requests, and reports the pings acknowledged in a second of either.
func BenchmarkFollowed(b *testing.B) {
	const turn, batch = 250, 100
	url := "nats://" + ingest.NATSServer(b)
	quiet := slog.New(slog.DiscardHandler)
	log := ingest.TestLog(b, queue.Config{URL: url, MaxBytes: 4 << 30, Logger: quiet})
	w, err := ingest.OpenWriter(context.Background(), ingest.WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}, Dir: b.TempDir(), Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(run) }()
	defer func() { stop(); <-ended }()
	pings, n := ingest.MadeUp(2000, 100), 0
	send := func() {
		if n+batch > len(pings) {
			n = 0
			for i := range pings {
				pings[i].At += 100 * 5000
			}
		}
		j := &ingest.Job{Pings: pings[n : n+batch]}
		for i := range j.Pings {
			j.Cells = append(j.Cells, ingest.TestCells.Of(&j.Pings[i].Fix))
		}
		n += batch
		if err := w.Submit(j); err != nil {
			b.Fatal(err)
		}
	}
	for range turn {
		send()
	}
	if err := w.Save(context.Background()); err != nil {
		b.Fatal(err)
	}
	var took [2]time.Duration
	var sent [2]int
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		with := i % 2
		s := follow.NewSpare(follow.Config{URL: url, Dir: filepath.Join(b.TempDir(), "follow"), Filter: dedupe.DefaultConfig(), Logger: quiet}, 1)
		for with == 1 && !log.Attended(context.Background()) {
			s.Follow(follow.WithoutParts)
			time.Sleep(10 * time.Millisecond)
		}
		b.StartTimer()
		began := time.Now()
		for range turn {
			send()
		}
		took[with] += time.Since(began)
		sent[with] += turn * batch
		b.StopTimer()
		s.Take("")
		for log.Attended(context.Background()) {
			time.Sleep(10 * time.Millisecond)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(sent[0])/took[0].Seconds(), "pings/s-alone")
	b.ReportMetric(float64(sent[1])/max(took[1].Seconds(), 1e-9), "pings/s-followed")
}
