package moving

import (
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink/reshard"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// cutOver ends a change whose history is copied, but for the deletion.
func (r *rig) cutOver() {
	r.t.Helper()
	r.stage(Moved)
	r.settled()
	_, err := r.eras.Cut(false)
	r.must(err)
	r.must(r.eras.Finish())
}

// laidOut checks that each row is where a layout has it, and nowhere else.
func (r *rig) laidOut(layout reshard.Spread) {
	r.t.Helper()
	shards, err := partition.NewShards(layout...)
	r.must(err)
	wrong := 0
	for name, b := range r.boxes {
		for _, e := range b.all() {
			if shards.At(shards.OfKey(partition.CellKey(e.Cell, 0))).Name != name {
				wrong++
			}
		}
	}
	if wrong > 0 {
		r.t.Errorf("%d rows are where %v has them not", wrong, layout)
	}
}

// A change that is forced while rows of the change before are deleted from an old shard, and that
// goes back to it: no row is missing, neither one of the pieces that were deleted, nor one that comes
// meanwhile.
func TestForcedWhileDeleting(t *testing.T) {
	r := newRig(t, "a", "b")
	r.write(days(1, 3000)...)
	r.settled()
	r.start(reshard.Order{Add: spread("c"), Move: &reshard.Move{}}, "c")
	r.cutOver()

	var last store.Unit
	units, reached, goOn := 0, make(chan bool), make(chan bool)
	a := r.boxes["a"]
	a.set(func() {
		a.erasing = func(u store.Unit) {
			if units++; units == 2 {
				last = u
				close(reached)
				<-goOn
			}
		}
	})
	r.must(r.mover.Delete())
	<-reached
	if why, wait := r.mover.Unready(); why == "" || !wait {
		t.Errorf("another change may start without force: %q", why)
	}
	r.start(reshard.Order{Remove: []string{"c"}, Move: &reshard.Move{}})
	if n := len(r.boxes["a"].all()); n == 0 {
		t.Error("a is empty: the test shows nothing")
	}
	late := storetest.Fleet(7, 50) // to the piece that is being deleted, and that goes back
	for i := range late {
		late[i].Cell, late[i].At = last.Cell, last.From+int64(i)
	}
	r.write(late...)
	close(goOn)
	r.write(days(2, 500)...)
	r.cutOver()
	r.must(r.mover.Delete())
	r.stage(Deleted)
	if s := r.mover.Status(); s.Kept > 0 || s.Differ > 0 || s.Stands != "" {
		t.Errorf("in the end: %+v", s)
	}
	r.whole()
	r.laidOut(spread("a", "b"))
	if got := len(r.eras.Status().ReadOnly); got > 0 {
		t.Errorf("%d shards are read only", got)
	}
}

// A cell that is split while both layouts are written is in shards of its sub-keys, by each layout:
// no row is missing in any phase, and after delete a row is in two shards at most.
func TestCellThatIsSplitWhileItMoves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		order func() reshard.Order
		fresh []string
		then  reshard.Spread
	}{
		{"add", func() reshard.Order { return reshard.Order{Add: spread("c"), Move: &reshard.Move{}} }, []string{"c"}, spread("a", "b", "c")},
		{"replace", func() reshard.Order { return replace("a", "c") }, []string{"c"}, spread("c", "b")},
		{"remove", func() reshard.Order { return reshard.Order{Remove: []string{"a"}, Move: &reshard.Move{}} }, nil, spread("b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "a", "b")
			seed := uint64(0)
			hot := func(n, splits int) {
				list := days(seed, n)
				seed++
				for i := range list {
					list[i].At += int64(seed) * time.Minute.Milliseconds() / 2
					if list[i].Cell%3 != 0 { // most are in cells that are split
						list[i].SubKey = uint16(i % splits)
					}
				}
				r.write(list...)
			}
			hot(1000, 1)
			r.settled()
			r.start(tt.order(), tt.fresh...)
			hot(1000, 4)
			r.stage(Moved)
			r.whole()
			hot(500, 8)
			r.settled()
			r.whole()
			r.must(r.mover.Verify(true))
			r.stage(Moved)
			if s := r.mover.Status(); s.Differ > 0 {
				t.Errorf("differs: %v", s.Differences)
			}
			_, err := r.eras.Cut(false)
			r.must(err)
			hot(500, 8)
			r.settled()
			r.whole()
			r.must(r.eras.Finish())
			hot(500, 16)
			r.settled()
			r.whole()
			r.must(r.mover.Delete())
			r.stage(Deleted)
			hot(500, 2)
			r.settled()
			twice := r.whole()
			copies := make(map[string]int)
			for _, name := range r.eras.Reading() {
				for _, e := range r.boxes[name].all() {
					copies[identity(&e)]++
				}
			}
			for row, n := range copies {
				if n > 2 {
					t.Fatalf("%s is in %d shards", row, n)
				}
			}
			if got := r.eras.Record().InForce(); got.String() != tt.then.String() {
				t.Errorf("in force is %v, want %v", got, tt.then)
			}
			if tt.order().Add == nil && len(r.boxes["a"].list(func(*pingline.Entry) bool { return true })) > 0 {
				t.Errorf("a has rows still: %+v", r.mover.Status())
			}
			t.Logf("%d of %d rows are in two shards, %d pieces stay", twice, len(r.wrote), r.mover.Status().Kept)
		})
	}
}
