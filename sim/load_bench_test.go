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

// BenchmarkBody makes pings of 10,000 phones, as often as phones send, and bodies of 100
// of them. It allocates for the names of phones and trips alone.
func BenchmarkBody(b *testing.B) {
	for _, format := range []Format{JSON, NDJSON, Gzip, Zstd} {
		b.Run(string(format), func(b *testing.B) {
			l, err := NewLoad(LoadConfig{URL: "http://localhost", Rate: 2000, Phones: newCity(b, CityConfig{}), Format: format})
			if err != nil {
				b.Fatal(err)
			}
			s := newTestSender(b, l)
			n, bytes := 0, 0
			var dues []Due
			var pings []pingline.Ping
			b.ReportAllocs()
			for b.Loop() {
				dues, _ = s.plan.next(dues[:0], 100)
				pings = s.fill(pings[:0], dues)
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
		l, err := NewLoad(LoadConfig{URL: server.URL, Phones: city, For: time.Second, Ledger: audit.NewLedger()})
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
