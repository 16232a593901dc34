package server

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/ingest"
	"pingline/query/fleet"
	"pingline/query/stream"
	"pingline/queue"
)

// BenchmarkViewers compares how many pings are taken in without viewers and with 200, of
// whom 20 do not read, in turns within a run, so that whatever else the machine does is
// the same for both. Each of 64,000 riders sends as fast as it is answered; a viewer sees
// 1,280 of them, and one that does not read 19,200. Senders and viewers run in the same
// process: what the viewers' own ends cost counts as lost.
func BenchmarkViewers(b *testing.B) {
	w, _ := testWriter(b, ingest.WriterConfig{Log: testLog(b, queue.Config{}), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	m := fleet.New(fleet.Config{Newest: w.NewestPings, MaxRiders: 100_000})
	hub := stream.New(stream.Config{Map: m})
	s, _ := testServer(b, Config{Writer: w, Streams: hub, RiderRate: 1e6, RiderBurst: 1e9})
	const (
		connections, pings = 64, 1000
		viewers, stalled   = 200, 20
		round              = 3 * time.Second
	)
	clients := make([]*client, connections)
	for i := range clients {
		clients[i] = newClient(b, s.Addr().String(), i, pings, "")
		clients[i].at = time.Now().Add(-10 * time.Minute).UnixMilli()
	}
	rate := func(d time.Duration) float64 {
		began, sent := time.Now(), 0
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, c := range clients {
			wg.Go(func() {
				n := 0
				for ; time.Since(began) < d; n += pings {
					if err := c.request(); err != nil {
						b.Error(err)
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				sent += n
			})
		}
		wg.Wait()
		return float64(sent) / time.Since(began).Seconds()
	}
	rate(time.Second)
	var alone, watched, received, heap float64
	for b.Loop() {
		alone += rate(round)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var wg sync.WaitGroup
		var mu sync.Mutex
		conns := make([]net.Conn, viewers)
		for i := range conns {
			conns[i] = viewerOf(b, s.Addr().String(), i, i < stalled)
			if i < stalled {
				continue
			}
			wg.Go(func() {
				n, _ := io.Copy(io.Discard, conns[i]) // ends when it is closed
				mu.Lock()
				defer mu.Unlock()
				received += float64(n)
			})
		}
		until(b, "all look", func() bool { return hub.Stats().Viewers == viewers })
		watched += rate(round)
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap = max(heap, float64(after.HeapAlloc)-float64(before.HeapAlloc))
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
		until(b, "none looks", func() bool { return hub.Stats().Viewers == 0 })
	}
	b.ReportMetric(alone/float64(b.N), "pings/s-alone")
	b.ReportMetric(watched/float64(b.N), "pings/s-watched")
	b.ReportMetric(100*(1-watched/alone), "%lost")
	b.ReportMetric(received/float64(b.N)/(viewers-stalled)/round.Seconds()/1000, "kB/s/viewer")
	b.ReportMetric(heap/(1<<20), "MiB-more")
}

// viewerOf opens a stream of a strip of the riders, from an address of its own.
func viewerOf(b *testing.B, addr string, n int, large bool) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 4, byte(1+n))}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	south, height := 41+float64(n%50)*0.02+0.001, 0.008 // tiles of 0.011 degrees: two of them
	if large {
		height = 0.288
		south = 41 + float64(n%3)*0.3
	}
	fmt.Fprintf(conn, "GET /v1/stream?bbox=-9,%.4f,-8,%.4f&riders=1 HTTP/1.1\r\nHost: x\r\n\r\n", south, south+height)
	return conn
}
