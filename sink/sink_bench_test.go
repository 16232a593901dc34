package sink

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pingline"
	"pingline/partition"
	"pingline/sink/influx"
	"pingline/sink/store/storetest"
)

// BenchmarkSink is the sink alone: it writes a log of half a million stored pings to
// stores that take everything and keep nothing. The CPU time is that of the process:
// of the sink, and of the other end of its connections.
func BenchmarkSink(b *testing.B) {
	null := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer null.Close()
	for _, shards := range []int{1, 4, 16} {
		b.Run(fmt.Sprintf("shards-%d", shards), func(b *testing.B) { benchmarkSink(b, null.URL, shards) })
	}
}

func benchmarkSink(b *testing.B, url string, shards int) {
	const points, commits = 500_000, 1000
	var list []ShardStore
	var spread []partition.Shard
	for i := range shards {
		to, err := influx.New(influx.Config{URL: url, Bucket: "b"})
		if err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("shard-%d", i)
		list, spread = append(list, ShardStore{Name: name, Store: to}), append(spread, partition.Shard{Name: name})
	}
	over, err := partition.NewShards(spread...)
	if err != nil {
		b.Fatal(err)
	}
	var used time.Duration
	var total float64
	for b.Loop() {
		b.StopTimer()
		w := testLog(b)
		for i := range commits {
			entries := storetest.Fleet(uint64(i), points/commits)
			for j := range entries {
				entries[j].Verdict = pingline.Accepted
			}
			w.commit(entries...)
		}
		s := testSink(b, w, nil, func(c *Config) { c.Shards, c.Spread, c.BatchWait = list, over, time.Second })
		before := cpuTime(b)
		b.StartTimer()
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		drained(b, s)
		b.StopTimer()
		for _, st := range s.Stats() {
			total += float64(st.Written)
		}
		used += cpuTime(b) - before
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if total != float64(b.N)*points {
		b.Fatalf("%g points were written, want %d", total, b.N*points)
	}
	b.ReportMetric(total/b.Elapsed().Seconds(), "points/s")
	b.ReportMetric(used.Seconds()*1e9/total, "cpu-ns/point")
}

// cpuTime is the CPU time of the process so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
