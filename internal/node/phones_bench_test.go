package node

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkPhones is a ping in a request, by the routes of some protocols in turns: what it
// costs an app that sends positions one by one. The store is away, so nothing is written to
// it. Compare the lines of one run.
func BenchmarkPhones(b *testing.B) {
	for _, tt := range []struct {
		name string
		send func(rider string, at int64, step int) string // a request
	}{
		{"native", func(rider string, at int64, step int) string {
			return post("/v1/pings", fmt.Sprintf(`{"rider_id":%q,"ts":%d,"lat":41.1%05d,"lon":-8.6,"speed":4,"accuracy":5}`, rider, at, step))
		}},
		{"owntracks", func(rider string, at int64, step int) string {
			return post("/v1/owntracks", fmt.Sprintf(`{"_type":"location","topic":"owntracks/%s/phone","lat":41.1%05d,"lon":-8.6,"tst":%d,"acc":5,"vel":14,"tid":"ab"}`, rider, step, at/1000))
		}},
		{"osmand", func(rider string, at int64, step int) string {
			return fmt.Sprintf("GET /v1/osmand?id=%s&lat=41.1%05d&lon=-8.6&timestamp=%d&speed=8&accuracy=5 HTTP/1.1\r\nHost: x\r\n\r\n", rider, step, at/1000)
		}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			cfg := DefaultConfig()
			cfg.Name, cfg.Listen, cfg.OpsListen, cfg.DataDir, cfg.Influx.Host = "n", "127.0.0.1:0", "", b.TempDir(), "http://127.0.0.1:1"
			cfg.Logger, cfg.NewRidersRate, cfg.RiderRate, cfg.Rollup = slog.New(slog.DiscardHandler), 0, 0, nil
			n := drive(b, cfg)
			const connections = 128
			first := time.Now().Add(-700 * time.Hour).UnixMilli()
			var left atomic.Int64
			left.Store(int64(b.N))
			var all sync.WaitGroup
			before := used(b)
			b.ResetTimer()
			for i := range connections {
				all.Go(func() {
					conn, err := net.Dial("tcp", strings.TrimPrefix(n.URL(), "http://"))
					if err != nil {
						b.Error(err)
						return
					}
					defer conn.Close()
					answers := bufio.NewReader(conn)
					for step := 0; left.Add(-1) >= 0; step++ {
						if _, err := io.WriteString(conn, tt.send(fmt.Sprintf("r-%03d", i), first+int64(step)*1000, step*7%100_000)); err != nil {
							b.Error(err)
							return
						}
						resp, err := http.ReadResponse(answers, nil)
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
							b.Error(resp.Status, err)
							return
						}
					}
				})
			}
			all.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
			b.ReportMetric(float64((used(b)-before).Microseconds())/float64(b.N), "cpu-µs/ping")
		})
	}
}

func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// used is the time that this process has been on a processor: the load's share is the same
// for all protocols.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
