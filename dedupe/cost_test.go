package dedupe

import (
	"fmt"
	"testing"

	"pingline"
	"pingline/dedupe/vertices"
)

// The cost of the pings that walk furthest through what is known of a track: each
// vertex and each mark there may be.
func BenchmarkJudgeOldest(b *testing.B) {
	for _, kind := range []struct {
		name string
		ping func(n int) pingline.Ping
	}{
		{"again", func(n int) pingline.Ping { return second(10 * (n % 8)) }},
		{"backlog", func(n int) pingline.Ping { return off(second(10*(2+n%4)+1+n/4%8), 500) }},
		{"events", func(n int) pingline.Ping { return withEvent(second(10*(n%8)), fmt.Sprint("e-", n%4000)) }},
	} {
		b.Run(kind.name, func(b *testing.B) {
			r := newRun(b, bare(), Bound{MaxError: 10})
			judge := func(p pingline.Ping) {
				e := pingline.Entry{Ping: p}
				r.Judge(&r.batch, &e, r.bound, 1, 0)
				r.batch.Reset()
			}
			for n := range vertices.Most {
				judge(withEvent(off(second(10*n), float64(n%2)*5000), "sos"))
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				judge(kind.ping(n))
				n++
			}
		})
	}
}
