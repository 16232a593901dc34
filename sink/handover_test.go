package sink

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/route"
)

// handing has shards that stand in for each other, and soon.
func handing(t testing.TB, shards ...ShardStore) func(*Config) {
	return func(c *Config) {
		c.Shards = shards
		var names []string
		for _, sh := range shards {
			names = append(names, sh.Name)
		}
		c.Spread = spread(t, names...)
		c.RetryMax, c.HandOver = 50*time.Millisecond, 200*time.Millisecond
	}
}

// homeOf returns those of list whose shard is i.
func homeOf(s *Sink, list []pingline.Entry, i int) (mine []pingline.Entry) {
	for _, e := range list {
		if s.cfg.Spread.Of(&e) == i {
			mine = append(mine, e)
		}
	}
	return mine
}

// A shard that dies has its pings written to those that are next in the order of
// each key; when it is back they are written to it again. What was written
// meanwhile stays where it is.
func TestHandOver(t *testing.T) {
	var servers []*influxd.Server
	var shards []ShardStore
	for _, name := range []string{"a", "b", "c"} {
		server := influxd.RunTest(t)
		servers = append(servers, server)
		shards = append(shards, ShardStore{Name: name, Store: testInflux(t, influx.Config{URL: server.URL()})})
	}
	w := testLog(t)
	s := testSink(t, w, nil, handing(t, shards...))
	start(t, s)
	before, during := mixed(1, 3000), mixed(2, 3000)
	w.commit(before...)
	drained(t, s)

	servers[0].Kill()
	lines := ready(pingline.Self, "", 5)
	w.commit(append(slices.Clone(during), lines...)...)
	drained(t, s) // with a dead shard
	balanced(t, s, w)
	if st := s.Stats(); !st[0].HandedOver || st[1].HandedOver || st[0].Down == 0 || st[1].Lines+st[2].Lines != 5 {
		t.Errorf("while it is dead: %+v", st)
	}

	if err := servers[0].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	var after []pingline.Entry
	// It takes a write to find out.
	eventually(t, "the shard is back", func() bool {
		some := homeOf(s, mixed(uint64(4+len(after)), 50), 0)
		after = append(after, some...)
		w.commit(some...)
		drained(t, s)
		return !s.Stats()[0].HandedOver
	})
	last := mixed(1_000_000, 3000)
	w.commit(last...)
	drained(t, s)
	balanced(t, s, w)

	var got []string
	for i, sh := range shards {
		points := stored(t, sh.Store.(*influx.Bucket))
		got = append(got, points...)
		for _, e := range slices.Concat(before, last) {
			if _, is := slices.BinarySearch(points, string(appendLine(nil, &e))); is != (s.cfg.Spread.Of(&e) == i) {
				t.Fatalf("%s is in shard %s: %v, want its own", e.Rider, sh.Name, is)
			}
		}
		for _, e := range during {
			order := s.cfg.Spread.Order(nil, &e)
			want := order[0]
			if want == 0 {
				want = order[1]
			}
			if _, is := slices.BinarySearch(points, string(appendLine(nil, &e))); is != (want == i) {
				t.Fatalf("%s, whose order is %v, is in shard %d: %v", e.Rider, order, i, is)
			}
		}
	}
	slices.Sort(got)
	sameLines(t, slices.Compact(got), linesOf(slices.Concat(before, during, after, last)...))
}

// handedOver starts a sink whose first shard answers dead and the others take
// all, and commits pings. It returns once answered says so.
func handedOver(t *testing.T, dead func([]string) int, change func(*Config)) (*Sink, *writer, []*recorder, []pingline.Entry) {
	stores := []*recorder{recording(t, dead), recording(t, nil), recording(t, nil)}
	w := testLog(t)
	s := testSink(t, w, nil, func(c *Config) {
		handing(t, ShardStore{Name: "a", Store: stores[0].Bucket}, ShardStore{Name: "b", Store: stores[1].Bucket}, ShardStore{Name: "c", Store: stores[2].Bucket})(c)
		change(c)
	})
	start(t, s)
	all := everything(1, 2000)
	w.commit(all...)
	return s, w, stores, all
}

// at is a policy that stays at a level.
func at(level int) func() pingline.Policy {
	return func() pingline.Policy { return pingline.PolicyAt(level) }
}

func TestWhenOthersStandIn(t *testing.T) {
	status := func(code int) func([]string) int { return func([]string) int { return code } }
	for _, tt := range []struct {
		name   string
		dead   func([]string) int
		change func(*Config)
		want   bool
	}{
		{"it fails for so long", status(503), func(*Config) {}, true},
		{"refused credentials count", status(401), func(*Config) {}, true},
		{"so does being asked to wait", status(429), func(*Config) {}, true},
		{"not for so long", status(503), func(c *Config) { c.HandOver = time.Hour }, false},
		{"but the log is filling up", status(503), func(c *Config) { c.HandOver, c.Policy = time.Hour, at(2) }, true},
		{"it is not, yet", status(503), func(c *Config) { c.HandOver, c.Policy = time.Hour, at(1) }, false},
		{"never", status(503), func(c *Config) { c.HandOver, c.Policy = 0, at(4) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, w, stores, all := handedOver(t, tt.dead, tt.change)
			if !tt.want {
				eventually(t, "it is down and the others are done", func() bool {
					st := s.Stats()
					return st[0].Down > 2*s.cfg.RetryMax && st[1].Lanes[route.Live].Behind+st[2].Lanes[route.Live].Behind == 0
				})
				if st := s.Stats(); st[0].HandedOver || st[0].Queued == 0 {
					t.Errorf("%+v", st[0])
				}
				balanced(t, s, w)
				return
			}
			drained(t, s)
			balanced(t, s, w)
			if notes := strings.Join(s.Notes(), "\n"); strings.Contains(tt.name, "credentials") && !strings.Contains(notes, "other shards stand in for it") {
				t.Errorf("the notes are %q", notes)
			}
			if n := len(stores[0].taken()); n > 0 {
				t.Errorf("%d lines are in a store that refuses all", n)
			}
			got := append(stores[1].taken(), stores[2].taken()...)
			slices.Sort(got)
			sameLines(t, got, linesOf(all...))
		})
	}
}

// While no other is up all is kept, and the first that comes back gets it.
func TestAllAreDown(t *testing.T) {
	var up atomic.Bool
	answer := func([]string) int {
		if up.Load() {
			return http.StatusNoContent
		}
		return http.StatusInternalServerError
	}
	s, w, stores, all := handedOver(t, func([]string) int { return 401 }, func(c *Config) { c.HandOver = 1 })
	drained(t, s)
	stores[1].answer, stores[2].answer = answer, func([]string) int { return 500 }
	more := everything(2, 2000)
	w.commit(more...)
	eventually(t, "all are down", func() bool {
		return !slices.ContainsFunc(s.Stats(), func(st Stats) bool { return st.Down == 0 })
	})
	balanced(t, s, w)
	up.Store(true)
	drained(t, s)
	balanced(t, s, w)
	got := append(stores[1].taken(), stores[2].taken()...)
	slices.Sort(got)
	sameLines(t, got, linesOf(append(all, more...)...))
}

// Of a batch that several shards are to take, each row is taken and counted once,
// though some of them fail, and a row that is refused is put aside alone.
func TestBrokenHandOver(t *testing.T) {
	var n atomic.Int64
	s, w, stores, all := handedOver(t, func([]string) int { return 503 }, func(c *Config) { c.HandOver = 1 })
	drained(t, s)
	stores[1].answer = func([]string) int {
		if n.Add(1)%3 > 0 {
			return http.StatusServiceUnavailable
		}
		return http.StatusNoContent
	}
	stores[2].answer = func(lines []string) int {
		if slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "lat=1.5,") }) {
			return http.StatusBadRequest
		}
		return http.StatusNoContent
	}
	more := mixed(2, 2000)
	bad := 0
	for i := range more {
		if order := s.cfg.Spread.Order(nil, &more[i]); i%100 == 50 && order[0] == 0 {
			more[i].LatE7 = 1.5 * pingline.E7
			bad++
		}
	}
	w.commit(more...)
	drained(t, s)
	balanced(t, s, w)
	var took uint64
	for _, st := range s.Stats() {
		took += st.Written
	}
	a := s.Account()
	if a.Pings.Written != took {
		t.Errorf("the shards took %d rows, the lanes wrote %d", took, a.Pings.Written)
	}
	if dead := len(deadLettersOf(t, s)); uint64(dead) != a.Pings.DeadLettered || dead > bad || bad == 0 {
		t.Errorf("%d dead letters of %d bad rows, %+v", dead, bad, a.Pings)
	}
	got := append(stores[1].taken(), stores[2].taken()...)
	for _, d := range deadLettersOf(t, s) {
		got = append(got, rowOf(d))
	}
	slices.Sort(got)
	sameLines(t, got, linesOf(append(all, more...)...))
}
