package server

import (
	"context"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/queue"
)

// testLog opens a log that lives as long as the test.
func testLog(t testing.TB, cfg queue.Config) *queue.Log {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	log, err := queue.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	return log
}

// testWriter opens and runs a writer until the test ends or stop is called.
func testWriter(t testing.TB, cfg ingest.WriterConfig) (w *ingest.Writer, stop func()) {
	t.Helper()
	if cfg.Filter.MaxRiders == 0 {
		cfg.Filter = dedupe.DefaultConfig()
	}
	w, err := ingest.OpenWriter(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the writer failed: %v", err)
		}
	})
	t.Cleanup(stop)
	return w, stop
}

var testCells, _ = partition.NewCells(5)

// entries reads the whole log.
func entries(t testing.TB, log *queue.Log) (list []pingline.Entry) {
	t.Helper()
	if log.Last() < log.First() || log.Last() == 0 {
		return nil
	}
	r := log.Read(log.First())
	defer r.Close()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		_, es, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for {
			var e pingline.Entry
			ok, err := es.Next(&e)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			list = append(list, e)
		}
		if rec.Number >= log.Last() {
			return list
		}
	}
}

// job is pings of rider, one a second from at, each far from the one before.
func job(rider string, at int64, n int) *ingest.Job {
	j := new(ingest.Job)
	for i := range n {
		p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: at + int64(i)*1000}}
		if err := p.SetPosition(41+float64(i%2)/1000, -8-float64(i)/1000); err != nil {
			panic(err)
		}
		j.Pings = append(j.Pings, p)
		j.Cells = append(j.Cells, testCells.Of(&p.Fix))
	}
	return j
}

const t0 = 1_760_000_000_000

func submit(t testing.TB, w *ingest.Writer, j *ingest.Job) {
	t.Helper()
	if err := w.Submit(j); err != nil {
		t.Fatalf("Submit(%d pings): %v", len(j.Pings), err)
	}
}
