package moving

import (
	"testing"
	"time"

	"pingline"
	"pingline/sink/reshard"
	"pingline/sink/store/storetest"
)

// A new shard loses rows of the copy, and the counts of days or cells are equal all the same, since
// another shard has rows of its own of them: the comparison finds that, and copies again.
func TestCountsThatAreEqualByChance(t *testing.T) {
	for _, tt := range []struct {
		name  string
		days  bool
		order reshard.Order
		fresh []string
		loses string
	}{
		{"days of a shard with rows of its own", true, reshard.Order{Remove: []string{"a"}, Move: &reshard.Move{}}, nil, "b"},
		{"days of two shards", true, replace("a", "c"), []string{"c"}, "c"},
		{"cells of which another shard has rows", false, replace("a", "c"), []string{"c"}, "c"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "a", "b")
			if tt.days {
				for _, name := range []string{"a", "b", "c"} {
					r.byDays(name)
				}
				r.stop()
				r.open("a", "b")
			}
			list := days(1, 900)
			r.write(list...)
			r.settled()
			// Rows that b took for a, or is the home of: as many as a has, of each day and cell.
			b := r.boxes["b"]
			b.set(func() { b.rows = make(map[string]pingline.Entry) })
			stay := r.boxes["a"].all()
			for i := range stay {
				stay[i].Rider = "of b"
				stay[i].Device = list[i].Rider
			}
			if tt.days {
				for i := range stay {
					stay[i].Cell = homeOf("b", i)
				}
			}
			r.must(b.Write(t.Context(), rowsOf(b, stay...)))
			r.wrote = append(r.boxes["a"].all(), b.all()...)
			lost := make(map[string]bool)
			r.boxes[tt.loses].set(func() {
				r.boxes[tt.loses].loses = func(e *pingline.Entry) bool { // under the box's lock
					was := lost[identity(e)]
					lost[identity(e)] = true
					return !was
				}
			})
			r.start(tt.order, tt.fresh...)
			r.cutOver()
			r.boxes[tt.loses].set(func() { r.boxes[tt.loses].loses = nil })
			if len(lost) == 0 {
				t.Error("no row was lost: the test shows nothing")
			}
			have := make(map[string]bool)
			for _, e := range append(r.boxes["c"].all(), b.all()...) {
				have[identity(&e)] = true
			}
			missing := 0
			for _, e := range r.boxes["a"].all() {
				if !have[identity(&e)] {
					missing++
				}
			}
			if missing > 0 {
				t.Errorf("history is moved, and the new layout lacks %d rows of %d", missing, len(stay))
			}
			r.must(r.mover.Delete())
			r.stage(Deleted)
			if n := len(r.boxes["a"].all()); n > 0 {
				t.Errorf("a has %d rows: %+v", n, r.mover.Status())
			}
		})
	}
}

// homeOf returns a cell of a and b whose home is a shard.
func homeOf(name string, seed int) uint64 {
	for _, e := range storetest.Fleet(uint64(seed), 100) {
		if at, _ := newPlaces(name, spread("a", "b"), spread("a", "b"), false, free); at.old.At(at.old.Of(&e)).Name == name {
			return e.Cell
		}
	}
	panic("no cell of " + name)
}

// A shard that takes old rows, and deletes them, gets none of them: there is no difference, they are
// counted, and stay where they are.
func TestRowsThatWouldBeDeletedStay(t *testing.T) {
	r := newRig(t, "a")
	list := storetest.Fleet(1, 900)
	yesterday := time.UnixMilli(storetest.Recently).UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
	for i := range list { // each piece has rows that are too old, and others
		list[i].At = yesterday.Add(time.Duration(6+i%2*12)*time.Hour).UnixMilli() + int64(i)
	}
	noon := yesterday.Add(12 * time.Hour)
	r.boxes["c"].keep = time.Since(noon)
	r.write(list...)
	r.settled()
	old := func(e *pingline.Entry) bool { return e.At < noon.UnixMilli() }
	lost := make(map[string]bool) // in the copy, of days with rows that are too old as well
	r.boxes["c"].loses = func(e *pingline.Entry) bool {
		was := lost[identity(e)]
		lost[identity(e)] = true
		return !was && e.Rider == list[7].Rider
	}
	want := len(r.boxes["a"].list(old))
	r.start(replace("a", "c"), "c")
	r.cutOver()
	if s := r.mover.Status(); s.Differ > 0 || want == 0 {
		t.Errorf("%d old rows; differs: %v", want, s.Differences)
	}
	has := make(map[string]bool)
	for _, e := range r.boxes["c"].all() {
		has[identity(&e)] = true
	}
	for _, e := range r.boxes["a"].all() {
		if !old(&e) && !has[identity(&e)] {
			t.Fatalf("%s was lost, and the comparison did not find it", identity(&e))
		}
	}
	r.must(r.mover.Delete())
	r.stage(Deleted)
	if got := len(r.boxes["a"].list(old)); got != want {
		t.Errorf("a has %d old rows of %d", got, want)
	}
	r.whole() // with all of the pieces that have some
}
