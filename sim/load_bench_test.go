package sim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim/audit"
)

// BenchmarkBody makes pings and bodies of 100 of them.
func BenchmarkBody(b *testing.B) {
	for _, zip := range []bool{false, true} {
		b.Run(fmt.Sprintf("gzip=%v", zip), func(b *testing.B) {
			l, err := NewLoad(LoadConfig{URL: "http://localhost", City: newCity(b, CityConfig{}), Gzip: zip})
			if err != nil {
				b.Fatal(err)
			}
			s := newSender(l, 0, time.Now())
			n, bytes := 0, 0
			var pings []pingline.Ping
			now := time.UnixMilli(monday)
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				pings = s.fleet.collect(pings[:0], now, 100)
				if err := s.encode(pings); err != nil {
					b.Fatal(err)
				}
				n, bytes = n+len(pings), bytes+len(s.body)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "bodies/s")
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pings/s")
			b.ReportMetric(float64(bytes)/float64(n), "B/ping")
		})
	}
}

// BenchmarkLoad sends to a server that reads and answers, and does no more:
// the most that a load can send, both ends on this machine.
func BenchmarkLoad(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			b.Error(err)
		}
		n := bytes.Count(body, []byte(`"rider_id"`))
		verdicts := strings.TrimSuffix(strings.Repeat(`"accepted",`, n), ",")
		if _, err := fmt.Fprintf(w, `{"accepted":%d,"max_error":10,"accuracy_cap":50,"verdicts":[%s]}`, n, verdicts); err != nil {
			b.Error(err)
		}
	}))
	defer server.Close()
	city := newCity(b, CityConfig{Interval: time.Second})
	var sent uint64
	for b.Loop() {
		l, err := NewLoad(LoadConfig{URL: server.URL, City: city, For: time.Second, Ledger: audit.NewLedger()})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		sent += l.Counters().Sent
	}
	b.ReportMetric(float64(sent)/b.Elapsed().Seconds(), "pings/s")
}
