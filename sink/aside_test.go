package sink

import (
	"fmt"
	"net/http"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/resume"
	"pingline/sink/route"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
)

// activity is n lines of the roll-up.
func activity(n int) []pingline.Entry {
	list := make([]pingline.Entry, n)
	for i := range list {
		list[i] = pingline.Entry{Kind: pingline.Activity, Line: fmt.Sprintf("cell_activity,cell=c pings=1i %d", recently+int64(i))}
	}
	return list
}

// Lines of our own whose bucket is missing wait in the log until it is filling up.
// Then they become dead letters, all of them, count against no budget, and are
// written when they are replayed, once the bucket is there. With one shard or
// several, be the bucket one of its own or one that keys are spread over.
func TestOwnLinesAreSetAside(t *testing.T) {
	for _, tt := range []struct {
		name    string
		dead    string
		weights []float64
	}{
		{"a bucket of its own", "long", []float64{1}},
		{"a bucket of its own, beside several shards", "long", []float64{1, 5, 0.5}},
		{"one of those keys are spread over", "b", []float64{1, 5, 0.5}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRoutedStores(t, tt.dead, tt.weights...)
			to := slices.IndexFunc(r.shards, func(s ShardStore) bool { return s.Name == tt.dead })
			var level atomic.Int32
			w := testLog(t)
			s := testSink(t, w, nil, func(c *Config) {
				r.config(map[string]int{"activity": to})(c)
				c.Policy = func() pingline.Policy { return pingline.PolicyAt(int(level.Load())) }
			})
			start(t, s)
			lines, pings := activity(2*health.BudgetRefused), fleet(1, 3000)
			w.commit(slices.Concat(lines, pings)...)
			eventually(t, "it is down for long", func() bool { return s.Stats()[to].Down > 5*s.cfg.HandOver })
			eventually(t, "the pings are written", func() bool { return s.Account().Pings.Queued == 0 })
			if n := len(deadLettersOf(t, s)); n > 0 {
				t.Errorf("%d lines did not wait, though there is room for them", n)
			}
			at := w.log.Cursors()[resume.LaneCursor(tt.dead, route.Own)].Next

			level.Store(2)
			drained(t, s)
			balanced(t, s, w)
			if to := w.log.Cursors()[resume.LaneCursor(tt.dead, route.Own)].Next; to <= at {
				t.Errorf("the log cannot be trimmed beyond %d, where it was", to)
			}
			var got []string
			for _, l := range deadLettersOf(t, s) {
				if l.Shard != tt.dead || l.Cause != reasonAside || !strings.Contains(l.Reason, "status 404") {
					t.Fatalf("%+v", l)
				}
				got = append(got, rowOf(l))
			}
			slices.Sort(got)
			sameLines(t, got, linesOf(lines...))
			if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "2000 lines of our own were set aside") {
				t.Errorf("the notes do not say so: %s", notes)
			}

			r.dead.Store(false)
			level.Store(0)
			if n := resubmit(t, s, w); n != len(lines) {
				t.Errorf("%d lines are replayed", n)
			}
			drained(t, s)
			balanced(t, s, w)
			taken := slices.DeleteFunc(r.stores[to].taken(), func(l string) bool { return !strings.HasPrefix(l, "cell_activity") })
			sameLines(t, taken, linesOf(lines...))
		})
	}
}

// Pings that a route sends to a missing bucket wait as long as the log has room: it
// is there for them. Nor does anything become a dead letter while no shard takes
// writes, or the log has room.
func TestWhatWaitsAtAnyLevel(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  string
		rows  []pingline.Entry
		level int
		other int // status of the other shard's answers
	}{
		{"pings", "location", fleet(3, 50), 4, http.StatusNoContent},
		{"events", "event", events(50), 4, http.StatusNoContent},
		{"replayed lines", "activity", replayed("long", ownLine("cell_activity")), 4, http.StatusNoContent},
		{"lines, while the log has room", "activity", ready(pingline.Activity, "", 5), 1, http.StatusNoContent},
		{"lines, while no shard takes writes", "activity", ready(pingline.Activity, "", 5), 4, http.StatusServiceUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			stores := []*recorder{
				recording(t, func([]string) int { return tt.other }),
				recording(t, func([]string) int { return http.StatusNotFound }),
			}
			w := testLog(t)
			s := testSink(t, w, nil, func(c *Config) {
				c.Shards = []ShardStore{{Name: "a", Store: stores[0].Bucket}, {Name: "long", Store: stores[1].Bucket}}
				c.Routes = map[string]int{tt.kind: 1, "self": 0}
				c.RetryMax, c.Policy = 20*time.Millisecond, at(tt.level)
			})
			start(t, s)
			w.commit(ready(pingline.Self, "", 1)...) // for the other
			eventually(t, "the other shard takes it, or is down", func() bool {
				st := s.Stats()[0]
				return st.Lines == 1 || st.Down > 0
			})
			w.commit(tt.rows...)
			tries := func() uint64 { return s.Stats()[1].Retries }
			eventually(t, "the bucket is missing for long", func() bool { return s.Stats()[1].Down > 5*s.cfg.RetryMax })
			was := tries()
			eventually(t, "it was tried again", func() bool { return tries() > was+2 })
			balanced(t, s, w)
			if list := deadLettersOf(t, s); len(list) > 0 {
				t.Errorf("%d dead letters, such as %+v", len(list), list[0])
			}
		})
	}
}

// Lines that do not wait have half of the dead letters; beyond that they wait after
// all, and rows that are refused still have the other half.
func TestLinesSetAsideHaveHalfOfTheRoom(t *testing.T) {
	r := newRoutedStores(t, "long", 1)
	w := testLog(t)
	s := testSink(t, w, nil, func(c *Config) {
		r.config(map[string]int{"activity": 1})(c)
		c.Policy, c.DeadLetterMaxBytes = at(2), 20<<10
	})
	start(t, s)
	lines := activity(200)
	w.commit(append(fleet(1, 10), lines...)...)
	eventually(t, "the lane stands still", func() bool { return strings.Contains(strings.Join(s.Notes(), "\n"), deadletter.ErrFull.Error()) })
	balanced(t, s, w)
	size, err := s.DeadLetters().Bytes()
	if err != nil || size > 10<<10 || size < 9<<10 {
		t.Errorf("the dead letters take %d bytes, %v", size, err)
	}
	kept := len(deadLettersOf(t, s))
	r.dead.Store(false)
	drained(t, s)
	balanced(t, s, w)
	if got := len(r.stores[1].taken()); kept == 0 || got+kept < len(lines) {
		t.Errorf("%d lines are written and %d dead letters, of %d", got, kept, len(lines))
	}
}
