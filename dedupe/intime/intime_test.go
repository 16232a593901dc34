package intime

import (
	"math/rand/v2"
	"testing"

	"pingline"
)

// Many pings are sorted otherwise than few: both by time, and as they stand where
// the time is the same.
func TestOrderOfAnyNumber(t *testing.T) {
	const monday = 1_767_600_000_000 // ms since 1970
	rng := rand.New(rand.NewPCG(1, 2))
	var o TimeOrder
	for _, n := range []int{2, fewPings - 1, fewPings, 1000, 20_000} {
		for _, span := range []int64{2, 250, 70_000, 90 * 86_400_000, 300 * 365 * 86_400_000} {
			pings := make([]pingline.Ping, n)
			for i := range pings {
				pings[i].At = monday + rng.Int64N(span)
			}
			pings[n/2].At = monday - 1 // not in order as they stand
			o = o.InTime(pings)
			if len(o) != n {
				t.Fatalf("%d of %d pings within %d ms", len(o), n, span)
			}
			seen := make([]bool, n)
			for i := range n {
				at := o.At(i)
				if seen[at] {
					t.Fatalf("%d pings within %d ms: ping %d twice", n, span, at)
				}
				seen[at] = true
				if i == 0 {
					continue
				}
				before := o.At(i - 1)
				if a, b := pings[before].At, pings[at].At; a > b || a == b && before > at {
					t.Fatalf("%d pings within %d ms: ping %d (%d) before ping %d (%d)", n, span, before, a, at, b)
				}
			}
		}
	}
}
