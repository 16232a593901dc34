package limit

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// far is a way to address that takes d in each direction, however much is on it.
func far(tb testing.TB, address string, d time.Duration) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", address)
			if err != nil {
				near.Close()
				continue
			}
			go carry(there, near, d)
			go carry(near, there, d)
		}
	}()
	return ln.Addr().String()
}

// carry passes on the bytes of from, d later.
func carry(to, from net.Conn, d time.Duration) {
	type parcel struct {
		at   time.Time
		data []byte
	}
	way := make(chan parcel, 10_000)
	go func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.at))
			if _, err := to.Write(p.data); err != nil {
				return
			}
		}
	}()
	defer close(way)
	for {
		buf := make([]byte, 64<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		way <- parcel{time.Now().Add(d), buf[:n]}
	}
}

// BenchmarkLimiter writes a backlog to a real InfluxDB, near and far, with fixed
// numbers of writes at once and with as many as limiter finds. Half of the time is
// to find out, the other half is measured.
func BenchmarkLimiter(b *testing.B) {
	const half = 20 * time.Second
	for _, d := range []time.Duration{0, 25 * time.Millisecond, 100 * time.Millisecond} {
		for _, n := range []int{1, 2, 4, 8, 0} {
			name, g := fmt.Sprintf("%v/fixed-%d", d, n), fixed(n)
			if n == 0 {
				name, g = fmt.Sprintf("%v/adaptive", d), adaptive()
			}
			b.Run(name, func(b *testing.B) {
				server := influxd.RunTest(b)
				u, err := url.Parse(server.URL())
				if err != nil {
					b.Fatal(err)
				}
				influx := influxtest.Open(b, influx.Config{URL: "http://" + far(b, u.Host, d)})
				for b.Loop() {
					pour(b, influx, g, half)
					took, limit := pour(b, influx, g, half)
					slices.Sort(took)
					b.ReportMetric(float64(len(took)*5000)/half.Seconds(), "points/s")
					b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
					b.ReportMetric(limit, "at-once")
				}
			})
		}
	}
}

// pour writes as much as g lets through for a time. It returns how long each
// write took, and how many were allowed at once on average.
func pour(b *testing.B, to *influx.Bucket, g *Scheduler, d time.Duration) (took []time.Duration, limit float64) {
	c := storetest.NewConvoy(10_000, storetest.AnHourAgo()-100_000_000, 5000)
	var mu sync.Mutex
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range 2 * MaxInFlight {
		wg.Go(func() {
			var lines []byte
			for time.Now().Before(end) {
				mu.Lock()
				lines = c.Fill(lines[:0], 5000, influx.AppendLine)
				mu.Unlock()
				release, err := g.Acquire(b.Context(), Live, 5000)
				if err != nil {
					b.Error(err)
					return
				}
				began := time.Now()
				if err := to.Write(b.Context(), store.Rows{Bytes: lines, N: 5000}); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				limit += float64(g.limiter.most())
				mu.Unlock()
				release(5000)
			}
		})
	}
	wg.Wait()
	return took, limit / float64(len(took))
}
