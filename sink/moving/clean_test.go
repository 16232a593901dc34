package moving

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink/reshard"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// An abort with clean in the middle of the copy deletes what was copied, also where the new shard
// is of another kind, is an old one, or the process ends in the middle; rows of its own stay.
func TestAbortCleans(t *testing.T) {
	for _, tt := range []struct {
		name       string
		order      reshard.Order
		fresh      []string
		old, fills string // shard that rows go to
		days       bool
		restart    bool
	}{
		{name: "a new shard", order: replace("a", "c"), fresh: []string{"c"}, fills: "c"},
		{name: "a new shard with days", order: replace("a", "c"), fresh: []string{"c"}, fills: "c", days: true},
		{name: "an old shard", order: reshard.Order{Remove: []string{"a"}, Move: &reshard.Move{}}, fills: "b"},
		{name: "the process ends", order: replace("a", "c"), fresh: []string{"c"}, fills: "c", restart: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, "a", "b")
			if tt.days {
				r.byDays("c")
			}
			r.rate = 1e6
			r.write(days(1, 3000)...)
			r.settled()
			before := map[string]int{"a": len(r.boxes["a"].all()), "b": len(r.boxes["b"].all())}
			then, err := partition.NewShards(map[bool]reshard.Spread{true: spread("b"), false: spread("c", "b")}[tt.fills == "b"]...)
			r.must(err)
			own := r.boxes["a"].list(func(e *pingline.Entry) bool { // the newest day comes first; this is the oldest
				return then.At(then.OfKey(partition.CellKey(e.Cell, 0))).Name == tt.fills
			})[0]
			own.Rider = "own"
			last := own
			last.At += 2 * 24 * time.Hour.Milliseconds()
			to := r.boxes[tt.fills]
			r.must(to.Write(t.Context(), rowsOf(to, own, last)))
			var writes atomic.Int32
			reached, goOn := make(chan bool), make(chan bool)
			to.set(func() {
				to.writing = func(int) {
					if writes.Add(1) == 3 {
						close(reached)
						<-goOn
					}
				}
			})
			r.start(tt.order, tt.fresh...)
			<-reached
			r.must(r.mover.Cleanable())
			r.must(r.eras.Abort(true))
			r.mover.Look()
			if why, wait := r.mover.Unready(); why == "" || !wait {
				t.Errorf("another change may start while copies are deleted: %q", why)
			}
			close(goOn)
			if tt.restart {
				r.stop()
				r.open("a", "b", "c")
			}
			r.stage(Cleaned)
			kept := r.mover.Status().Kept
			if kept == 0 || !strings.Contains(r.mover.Status().KeptWhy[0], "nowhere else") && !strings.Contains(r.mover.Status().KeptWhy[0], "belong there") {
				t.Errorf("kept are %d units: %v", kept, r.mover.Status().KeptWhy)
			}
			r.whole()
			if got := len(r.boxes["a"].all()); got != before["a"] {
				t.Errorf("a has %d rows, and had %d", got, before["a"])
			}
			left := to.list(func(e *pingline.Entry) bool {
				return e.Cell != last.Cell
			})
			for _, e := range left {
				if tt.fills == "c" {
					t.Fatalf("%s is left", identity(&e))
				}
			}
			if got := to.list(func(e *pingline.Entry) bool { return e.Rider == "own" }); len(got) != 2 {
				t.Errorf("%d rows of its own are left of 2", len(got))
			}
			again, err := r.mover.Again()
			r.must(err)
			r.stage(Cleaned)
			if got := r.mover.Status().Kept; !again || got != kept {
				t.Errorf("again %v: %d units are kept, and %d were", again, got, kept)
			}
			to.set(func() {
				delete(to.rows, identity(&own))
				delete(to.rows, identity(&last))
			})
			_, err = r.mover.Again()
			r.must(err)
			r.until("all is clean", func() bool { return r.mover.Status() == nil })
			if got := len(to.all()); got != before[tt.fills] {
				t.Errorf("%s has %d rows in the end, and had %d: %+v", tt.fills, got, before[tt.fills], r.mover.Status())
			}
			if left, err := filepath.Glob(filepath.Join(r.dir, "reshard-*")); err != nil || len(left) > 0 {
				t.Errorf("files are left: %v, %v", left, err)
			}
			r.start(tt.order, tt.fresh...) // as if nothing had been
			r.stage(Moved)
			r.whole()
		})
	}
}

func rowsOf(b *box, list ...pingline.Entry) (rows store.Rows) {
	for i := range list {
		rows.Bytes = b.AppendRow(rows.Bytes, &list[i])
		rows.N++
	}
	return rows
}

// Clean is refused where a new shard deletes nothing, where nothing is copied, after the cut, and
// where there is nothing to abort; nothing changes then.
func TestCleanRefused(t *testing.T) {
	r := newRig(t, "a", "b")
	r.stores["d"] = stubborn{r.boxes["d"], r.boxes["d"]}
	r.write(days(1, 300)...)
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	refused(r.eras.Abort(true), "there is nothing to abort")
	if again, err := r.mover.Again(); again || err != nil {
		t.Errorf("again %v, %v", again, err)
	}
	r.start(replace("a", "d"), "d")
	refused(r.mover.Cleanable(), "--clean: shard d cannot delete")
	r.must(r.eras.Abort(false))
	r.until("nothing is moved", func() bool { return r.mover.Status() == nil })
	r.start(reshard.Order{Replace: map[string]string{"a": "c"}}, "c")
	refused(r.eras.Abort(true), "copies no history")
	r.must(r.eras.Abort(false))
	r.start(replace("a", "c"), "c")
	r.stage(Moved)
	_, err := r.eras.Cut(true)
	r.must(err)
	refused(r.eras.Abort(true), "since the cut, rows are written to c")
	if st := r.eras.Status(); st.Phase != reshard.Cut {
		t.Errorf("the phase is %s", st.Phase)
	}
	r.whole()
}

// Days that the mirror gave up are copied again, and what is copied then is deleted as well.
func TestCleanDeletesWhatWasFilled(t *testing.T) {
	r := newRig(t, "a")
	r.write(days(1, 300)...)
	r.settled()
	c := r.boxes["c"]
	reached, goOn := make(chan bool), make(chan bool)
	var writes atomic.Int32
	c.set(func() {
		c.writing = func(int) {
			if writes.Add(1) == 1 { // of the copy
				close(reached)
				<-goOn
			}
		}
	})
	r.start(replace("a", "c"), "c")
	<-reached // the plan is made
	late := storetest.Fleet(5, 20)
	for i := range late {
		late[i].At -= 9 * 24 * time.Hour.Milliseconds()
	}
	c.set(func() { c.away = true })
	r.write(late...)
	r.until("a has all", func() bool { return r.eras.Written() > r.log.Last() })
	r.eras.GiveUpMirror(r.log.Last() + 1)
	r.until("the mirror gives up", func() bool { return len(r.eras.Status().LetGo) > 0 })
	c.set(func() { c.away = false })
	close(goOn)
	r.stage(Moved)
	r.until("what it gave up is filled in", func() bool { return len(r.eras.Status().LetGo) == 0 })
	if got := c.list(func(e *pingline.Entry) bool { return e.At <= late[19].At }); len(got) != len(late) {
		t.Fatalf("%d rows of %d are filled in: the test shows nothing", len(got), len(late))
	}
	r.must(r.eras.Abort(true))
	r.until("all is clean", func() bool { return r.mover.Status() == nil })
	if n := len(c.all()); n > 0 {
		t.Errorf("%d rows are left", n)
	}
	r.whole()
}

// A change that is forced while the copies of an aborted one are deleted loses nothing.
func TestForcedWhileCleaning(t *testing.T) {
	r := newRig(t, "a", "b")
	r.write(days(1, 3000)...)
	r.settled()
	r.start(replace("a", "c"), "c")
	r.stage(Moved)
	c, units := r.boxes["c"], 0
	reached, goOn := make(chan bool), make(chan bool)
	c.set(func() {
		c.erasing = func(store.Unit) {
			if units++; units == 2 {
				close(reached)
				<-goOn
			}
		}
	})
	r.must(r.eras.Abort(true))
	<-reached
	r.start(replace("a", "c"))
	r.write(days(2, 500)...)
	close(goOn)
	r.write(days(3, 500)...)
	r.cutOver()
	r.must(r.mover.Delete())
	r.stage(Deleted)
	if s := r.mover.Status(); s.Kept > 0 || s.Differ > 0 {
		t.Errorf("in the end: %+v", s)
	}
	r.whole()
	r.laidOut(spread("c", "b"))
}
