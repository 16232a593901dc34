package sink

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pingline/partition"
	"pingline/queue"
	"pingline/sink/influx"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// set is a set of shards, as a configuration would name them, all on one store.
type set struct {
	weights map[string]float64
	names   []string
	routes  map[string]int
}

func shardSet(names ...string) set { return set{names: names} }

func (v set) apply(t testing.TB, c *Config, influx *influx.Bucket) {
	t.Helper()
	c.Shards, c.Routes = nil, v.routes
	var list []partition.Shard
	for _, name := range v.names {
		c.Shards = append(c.Shards, ShardStore{Name: name, Store: influx})
		list = append(list, partition.Shard{Name: name, Weight: v.weights[name]})
	}
	var err error
	if c.Spread, err = partition.NewShards(list...); err != nil {
		t.Fatal(err)
	}
}

// When the set of shards changes while lines wait, nothing is missed: not what
// the lanes of a shard that is gone owed, nor what they left as holes.
func TestSetOfShardsChanges(t *testing.T) {
	before := set{names: []string{"a", "b", "c"}, weights: map[string]float64{"b": 2}}
	for _, tt := range []struct {
		name string
		set  set
	}{
		{"one is gone", set{names: []string{"a", "b"}, weights: map[string]float64{"b": 2}}},
		{"the first is gone", set{names: []string{"b", "c"}, weights: map[string]float64{"b": 2}}},
		{"all but one are gone", shardSet("c")},
		{"another comes", set{names: []string{"a", "b", "c", "d"}, weights: map[string]float64{"b": 2}}},
		{"one is renamed", set{names: []string{"a", "x", "c"}, weights: map[string]float64{"x": 2}}},
		{"all are others", shardSet("x", "y")},
		{"a weight is another", set{names: []string{"a", "b", "c"}, weights: map[string]float64{"b": 3}}},
		{"events go elsewhere", set{names: []string{"a", "b", "c"}, weights: map[string]float64{"b": 2}, routes: map[string]int{"event": 2}}},
		{"the order is another", set{names: []string{"c", "b", "a"}, weights: map[string]float64{"b": 2}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testLog(t)
			store := recording(t, nil)
			// Some get through, then all is refused, as if each shard were dead at
			// another place.
			n := 0
			store.answer = func([]string) int {
				if store.mu.Lock(); n < 12 {
					n++
					store.mu.Unlock()
					return http.StatusNoContent
				}
				store.mu.Unlock()
				return http.StatusServiceUnavailable
			}
			all := everything(1, 1000)
			w.commit(all...)
			run := func(v set) *Sink {
				return testSink(t, w, nil, func(c *Config) {
					jumping(c)
					v.apply(t, c, store.Bucket)
				})
			}
			first := run(before)
			stop := start(t, first)
			for i := range 20 {
				some := everything(uint64(10+i), 100)
				w.commit(some...)
				all = append(all, some...)
			}
			eventually(t, "the store refuses", func() bool {
				return slices.ContainsFunc(first.Stats(), func(s Stats) bool { return s.LastError != "" })
			})
			stop()
			store.answer = nil
			for range 2 { // the second time they go on where they are
				second := run(tt.set)
				stop = start(t, second)
				drained(t, second)
				balanced(t, second, w)
				stop()
			}
			if got, want := slices.Compact(store.taken()), slices.Compact(linesOf(all...)); !slices.Equal(got, want) {
				t.Errorf("%d lines are stored, want %d", len(got), len(want))
			}
			for name := range w.log.Cursors() {
				m := resume.CursorName.FindStringSubmatch(name)
				if m == nil || m[3] != "" || !slices.Contains(tt.set.names, m[1]) {
					t.Errorf("cursor %s is kept", name)
				}
			}
		})
	}
}

// Cursors of another set are given up only together with their replacements, in
// one step.
func TestStartingAnewIsOneStep(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 100)...)
	w.commit(fleet(2, 100)...)
	influx := testInflux(t, influx.Config{URL: "http://127.0.0.1:1"})
	low := queue.Cursor{Next: 2, Passed: 3}
	low.Totals[0] = 100
	head := w.log.Head()
	w.log.Change(queue.Change{
		Set:   map[string]queue.Cursor{"sink-old-live": head, "sink-old-hole-3": low, "reader": {Next: 1}},
		Notes: map[string]string{resume.LayoutNote: "1 shards old"},
	})
	s := testSink(t, w, influx, func(c *Config) { shardSet("a", "b").apply(t, c, influx) })
	kept := w.log.Kept()
	if len(kept) != 1+2*int(route.LaneKinds) {
		t.Errorf("kept are %v", kept)
	}
	for name, at := range kept {
		switch {
		case name == "reader":
		case name == "sink-a-critical":
			if at.Next != 2 || at.Passed != 100 {
				t.Errorf("%s is at %+v, want it to have passed all before it", name, at)
			}
		case at.Next != 2 || at.Passed != 0:
			t.Errorf("%s is at %+v, want it at 2", name, at)
		}
	}
	if got := w.log.Note(resume.LayoutNote); got != "1 shards a=1 b=1" {
		t.Errorf("the layout is noted as %q", got)
	}
	if a := s.Account(); a.Pings.Start != 100 || a.Pings.Queued != 100 {
		t.Errorf("%+v", a)
	}
	balanced(t, s, w)
}

// A log without cursors is read from its first commit; what was trimmed counts as
// passed.
func TestCursorsAreLost(t *testing.T) {
	dir := t.TempDir()
	log, err := queue.Open(t.Context(), queue.Config{Dir: dir, MaxBytes: 1 << 20, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, log: log}
	for i := range 10 {
		w.commit(mixed(uint64(i), 100)...)
	}
	if err := w.log.Trim(6); err != nil {
		t.Fatal(err)
	}
	w.close()
	if err := os.Remove(filepath.Join(dir, "cursors")); err != nil {
		t.Fatal(err)
	}
	w = openLog(t, dir)
	w.totals = w.log.LastTotals()
	store := recording(t, nil)
	s := testSink(t, w, store.Bucket, nil)
	first := w.log.First()
	if first != 6 {
		t.Fatalf("the log begins at %d, want 6", first)
	}
	want := 100 * (first - 1)
	if a := s.Account(); a.Pings.Start != want || a.Pings.Queued != 1000-want {
		t.Errorf("%+v, the first commit is %d", a, first)
	}
	start(t, s)
	drained(t, s)
	balanced(t, s, w)
	if got := len(store.taken()); got != int(1000-want) {
		t.Errorf("%d are written, want %d", got, 1000-want)
	}
}
