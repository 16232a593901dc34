package sink

import (
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"pingline/sink/limit"
)

// A proxy that lets little writes pass and fails full ones: the breaker's probes
// are taken, and nothing else is. The shard is down all the same, for others to
// stand in and for a level of overload; and up again once full writes are taken.
func TestTakingProbesOnlyIsDown(t *testing.T) {
	var healed atomic.Bool
	proxy := func(lines []string) int {
		if len(lines) > 2*limit.ProbeRows && !healed.Load() {
			return http.StatusInternalServerError
		}
		return http.StatusNoContent
	}
	for name, handOver := range map[string]bool{"alone": false, "others stand in": true} {
		t.Run(name, func(t *testing.T) {
			healed.Store(false)
			a, b := recording(t, proxy), recording(t, nil)
			w := testLog(t)
			s := testSink(t, w, nil, func(c *Config) {
				handing(t, ShardStore{Name: "a", Store: a.Bucket}, ShardStore{Name: "b", Store: b.Bucket})(c)
				if !handOver {
					c.HandOver = 0
				}
			})
			start(t, s)
			all := fleet(1, 8000)
			w.commit(all...)
			if handOver {
				drained(t, s)
				if st := s.Stats()[0]; !st.HandedOver {
					t.Errorf("%+v", st)
				}
			} else {
				eventually(t, "it has been down for long, though it takes probes", func() bool {
					return s.Stats()[0].Down > 20*s.cfg.RetryMax && len(a.taken()) > limit.ProbeRows
				})
			}
			balanced(t, s, w)
			healed.Store(true)
			eventually(t, "it is up again", func() bool {
				some := homeOf(s, fleet(uint64(10+len(all)), 100), 0)
				all = append(all, some...)
				w.commit(some...)
				drained(t, s)
				st := s.Stats()[0]
				return st.Down == 0 && !st.HandedOver
			})
			balanced(t, s, w)
			got := append(a.taken(), b.taken()...)
			slices.Sort(got)
			sameLines(t, slices.Compact(got), linesOf(all...))
		})
	}
}
