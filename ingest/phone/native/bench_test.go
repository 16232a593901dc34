package native

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pingline/ingest/phone"
)

// benchBody returns n pings as a phone sends them, in the form of an array.
func benchBody(n int, now time.Time) []byte {
	b := []byte{'['}
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b,
			`{"rider_id":"r-%06d","ts":%d,"lat":%.6f,"lon":%.6f,"speed":%.2f,"heading":%.1f,"accuracy":%d,"battery":%.2f}`,
			i%37*977, now.UnixMilli()-int64(i*250), 41.157812+float64(i)*0.000137, -8.629105-float64(i)*0.000211,
			float64(i%191)/10, float64(i%3600)/10, 3+i%20, float64(i%100)/100)
	}
	return append(b, ']')
}

func BenchmarkDecode(b *testing.B) {
	now := time.UnixMilli(1_760_000_000_000)
	r := phone.Request{Now: now, Limits: phone.Limits{}.WithDefaults()}
	run := func(name string, n int, body []byte) {
		b.Run(name, func(b *testing.B) {
			var d phone.Pings
			r.Body = body
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := Protocol.Read(&r, &d); err != nil || len(d.List) != n {
					b.Fatal(err, d.Rejected)
				}
			}
			pings := float64(b.N * n)
			b.ReportMetric(pings/b.Elapsed().Seconds(), "pings/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/pings, "ns/ping")
		})
	}
	for _, n := range []int{1, 100, 1000} {
		body := benchBody(n, now)
		run(fmt.Sprint(n), n, body)
		run(fmt.Sprint(n, "-attrs"), n, bytes.ReplaceAll(body, []byte("}"), []byte(`,"attrs":{"fuel":0.4,"load":1200,"door":"open","idle":false}}`)))
	}
}
