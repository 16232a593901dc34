package sink

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink/health"
	"pingline/sink/route"
)

// routedStores are shards over which keys are spread, by weights, and behind them
// "long", which gets what routes say. Those that are named dead answer 404 until
// revive.
type routedStores struct {
	shards []ShardStore
	stores []*recorder
	over   *partition.Shards
	dead   atomic.Bool
}

func newRoutedStores(t *testing.T, dead string, weights ...float64) *routedStores {
	r := new(routedStores)
	r.dead.Store(true)
	add := func(name string) {
		store := recording(t, func([]string) int {
			if name == dead && r.dead.Load() {
				return http.StatusNotFound
			}
			return http.StatusNoContent
		})
		r.stores = append(r.stores, store)
		r.shards = append(r.shards, ShardStore{Name: name, Store: store.Bucket})
	}
	var list []partition.Shard
	for i, weight := range weights {
		name := string(rune('a' + i))
		add(name)
		list = append(list, partition.Shard{Name: name, Weight: weight})
	}
	add("long")
	var err error
	if r.over, err = partition.NewShards(list...); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *routedStores) config(routes map[string]int) func(*Config) {
	return func(c *Config) {
		c.Shards, c.Spread, c.Routes = r.shards, r.over, routes
		c.RetryMax, c.HandOver = 20*time.Millisecond, 20*time.Millisecond
	}
}

// events returns n pings with an event.
func events(n int) []pingline.Entry {
	list := fleet(3, n)
	for i := range list {
		list[i].Event = "sos"
	}
	return list
}

// replayed are dead letters on their way back to a shard.
func replayed(to string, entries ...pingline.Entry) (list []pingline.Entry) {
	for i := range entries {
		line := entries[i].Line
		if !entries[i].IsLine() {
			line = strings.TrimSuffix(string(appendLine(nil, &entries[i])), "\n")
		}
		list = append(list, pingline.Entry{Kind: pingline.Replayed, To: to, Line: line})
	}
	return list
}

// ownLine is a line of ours as it looks in a store.
func ownLine(measurement string) pingline.Entry {
	return pingline.Entry{Line: measurement + ",node=a n=1i 1760000000000", Kind: pingline.Self}
}

// A shard that a route names has no stand-in, be it one that keys are spread over
// or a bucket of its own: what it is to get waits, and goes nowhere else. With
// one shard or several, and whatever their weights.
func TestRoutedRowsHaveNoStandIn(t *testing.T) {
	for _, tt := range []struct {
		name string
		dead string
		to   string // of the route
		kind string
		rows []pingline.Entry
	}{
		{"activity", "long", "long", "activity", ready(pingline.Activity, "", 5)},
		{"our own figures", "long", "long", "self", ready(pingline.Self, "", 5)},
		{"pings", "long", "long", "location", fleet(3, 200)},
		{"events", "long", "long", "event", events(200)},
		{"a ready line that names its shard", "long", "long", "activity", ready(pingline.Self, "long", 5)},
		{"replayed rows of the route", "long", "long", "location", replayed("long", fleet(3, 20)...)},
		{"events, to one of those keys are spread over", "b", "b", "event", events(200)},
		{"activity, to one of those keys are spread over", "b", "b", "activity", ready(pingline.Activity, "", 5)},
		{"replayed events", "b", "b", "event", replayed("b", events(20)...)},
		{"pings put back", "long", "long", "location", putBack(3, "long", 3)},
		{"replayed activity", "b", "b", "activity", replayed("b", ownLine("cell_activity"))},
		{"replayed figures", "b", "b", "self", replayed("b", ownLine("pingline_lane"))},
	} {
		for what, weights := range map[string][]float64{"one": {1}, "three": {1, 5, 0.5}} {
			if tt.dead == "b" && len(weights) == 1 {
				continue
			}
			t.Run(tt.name+"/"+what, func(t *testing.T) {
				t.Parallel()
				r := newRoutedStores(t, tt.dead, weights...)
				to := slices.IndexFunc(r.shards, func(s ShardStore) bool { return s.Name == tt.to })
				w := testLog(t)
				s := testSink(t, w, nil, r.config(map[string]int{tt.kind: to}))
				stop := start(t, s)
				w.commit(tt.rows...)
				eventually(t, "it is down for long", func() bool { return s.Stats()[to].Down > 5*s.cfg.HandOver })
				stop()
				s = testSink(t, w, nil, r.config(map[string]int{tt.kind: to})) // a restart changes nothing
				start(t, s)
				eventually(t, "it is down for long", func() bool { return s.Stats()[to].Down > 5*s.cfg.HandOver })
				balanced(t, s, w)
				for i, store := range r.stores {
					if n := len(store.taken()); n > 0 {
						t.Errorf("shard %s has taken %d lines of %s", r.shards[i].Name, n, tt.to)
					}
				}
				r.dead.Store(false)
				drained(t, s)
				balanced(t, s, w)
				sameLines(t, r.stores[to].taken(), linesOf(tt.rows...))
			})
		}
	}
}

// While a shard is down the rows that are its own by their key go to the others,
// of those alone over which keys are spread, and what a route names it for does
// not hold them up.
func TestKeysAreHandedOverBesideRoutes(t *testing.T) {
	r := newRoutedStores(t, "b", 1, 5, 0.5)
	routes := map[string]int{"event": 1, "activity": 3}
	w := testLog(t)
	s := testSink(t, w, nil, r.config(routes))
	start(t, s)
	pings, sos, lines := fleet(1, 3000), events(50), ready(pingline.Activity, "", 5)
	back := replayed("b", fleet(9, 50)...)
	w.commit(slices.Concat(pings, sos, lines, back)...)
	eventually(t, "all but the events are written", func() bool {
		for i, st := range s.Stats() {
			for _, l := range st.Lanes {
				if l.Behind > 0 && (i != 1 || l.Lane != route.Critical.String()) {
					return false
				}
			}
		}
		return true
	})
	balanced(t, s, w)
	if n := len(r.stores[1].taken()); n > 0 {
		t.Errorf("%d lines are in a store that refuses all", n)
	}
	sameLines(t, r.stores[3].taken(), linesOf(lines...))
	got := append(r.stores[0].taken(), r.stores[2].taken()...)
	slices.Sort(got)
	sameLines(t, got, linesOf(append(pings, back...)...))
	for i, e := range pings {
		if want := r.over.Order(nil, &e)[0]; want != 1 {
			continue
		}
		line, to := string(appendLine(nil, &e)), r.over.Order(nil, &e)[1]
		if !slices.Contains(r.stores[to].taken(), line) {
			t.Fatalf("ping %d is not in shard %s, the next of its key", i, r.shards[to].Name)
		}
	}
	r.dead.Store(false)
	drained(t, s)
	balanced(t, s, w)
	sameLines(t, r.stores[1].taken(), linesOf(sos...))
}

// A row that a stand-in refuses is a dead letter of the stand-in, which it goes
// back to, and counts against that one's budget.
func TestStandInRefuses(t *testing.T) {
	var healed atomic.Bool
	a := recording(t, func([]string) int { return http.StatusServiceUnavailable })
	b := recording(t, func(lines []string) int {
		if !healed.Load() && slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "event=") }) {
			return http.StatusBadRequest
		}
		return http.StatusNoContent
	})
	w := testLog(t)
	s := testSink(t, w, nil, handing(t, ShardStore{Name: "a", Store: a.Bucket}, ShardStore{Name: "b", Store: b.Bucket}))
	start(t, s)
	all := append(fleet(1, 2000), events(30)...)
	w.commit(all...)
	drained(t, s)
	balanced(t, s, w)
	for _, l := range deadLettersOf(t, s) {
		if l.Shard != "b" {
			t.Fatalf("%s is filed as of shard %s", rowOf(l), l.Shard)
		}
	}
	st := s.Stats()
	if n := st[0].DeadLettered(); n != 0 || st[1].DeadLettered() != 30 {
		t.Errorf("%d and %d dead letters of a and b", n, st[1].DeadLettered())
	}

	// The next are too many for b, and accepted for b.
	more := slices.Concat(events(health.BudgetRefused), events(100))
	w.commit(more...)
	eventually(t, "the lane stands still", func() bool { return s.Stats()[0].Stopped == health.StopRefusals })
	if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "shard b: "+health.ErrTooManyRefused.Error()) {
		t.Errorf("the notes do not say who refuses: %s", notes)
	}
	if err := s.DeadLetters().Accept(t.Context(), "b", 5000); err != nil {
		t.Fatal(err)
	}
	drained(t, s)
	balanced(t, s, w)
}
