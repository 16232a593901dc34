package reshard

import (
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
)

// After a change was aborted, rows that only the new shards have are read from there: rows that
// the mirror gave up, that its shard refused, that it had not come to when the next change began,
// and rows of a shard of both layouts for which a new one stood in.
func TestAbortLosesNoRow(t *testing.T) {
	replace := Order{Replace: map[string]string{"a": "c"}}
	begin := func(t *testing.T, r *rig) {
		r.open()
		r.start(replace, "c")
		_, err := r.eras.Cut(true)
		r.must(err)
	}
	passed := func(r *rig) func() bool {
		return func() bool { return r.eras.Len() == 1 }
	}
	t.Run("given up", func(t *testing.T) {
		r := newRig(t, "a", "b")
		begin(t, r)
		r.shelves["a"].set(func() { r.shelves["a"].away = true })
		rows := r.write(many("r-", 60)...)
		r.until("the new layout has them", func() bool { return r.eras.Written() > r.log.Last() })
		r.must(r.eras.Abort(false))
		r.until("the mirror has given up", func() bool {
			r.eras.GiveUpMirror(r.log.Last() + 1)
			return r.eras.Len() == 1
		})
		r.readable(rows)
	})
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, "a", "b")
		begin(t, r)
		r.shelves["a"].set(func() { r.shelves["a"].refuses = true })
		rows := r.write(append(many("bad-", 8), many("r-", 60)...)...)
		r.until("some are refused, and the new layout has them", func() bool {
			return r.eras.Status().MirrorLetters > 0 && r.eras.Written() > r.log.Last()
		})
		r.must(r.eras.Abort(false))
		r.settled()
		r.until("all is passed", passed(r))
		r.readable(rows)
	})
	t.Run("left to do", func(t *testing.T) {
		r := newRig(t, "a", "b")
		begin(t, r)
		r.shelves["a"].set(func() { r.shelves["a"].away = true })
		rows := r.write(many("r-", 60)...)
		r.until("the new layout has them", func() bool { return r.eras.Written() > r.log.Last() })
		r.must(r.eras.Abort(false))
		r.start(Order{Replace: map[string]string{"b": "d"}}, "d")
		r.must(r.eras.Abort(false))
		r.shelves["a"].set(func() { r.shelves["a"].away = false })
		r.settled()
		r.until("all is passed", passed(r))
		r.readable(rows)
	})
	t.Run("stood in for", func(t *testing.T) {
		r := newRig(t, "a", "b")
		r.cfg.HandOver = time.Millisecond
		begin(t, r)
		r.shelves["b"].set(func() { r.shelves["b"].away = true })
		rows := r.write(many("r-", 60)...)
		r.until("another stands in", func() bool { return r.eras.Written() > r.log.Last() })
		r.must(r.eras.Abort(false))
		r.shelves["b"].set(func() { r.shelves["b"].away = false })
		r.settled()
		r.until("all is passed", passed(r))
		r.readable(rows)
	})
	t.Run("all is mirrored", func(t *testing.T) {
		r := newRig(t, "a", "b")
		begin(t, r)
		rows := r.write(many("r-", 60)...)
		r.settled()
		r.must(r.eras.Abort(false))
		r.settled()
		r.until("all is passed", passed(r))
		r.readable(rows)
		if reading := r.eras.Reading(); slices.Contains(reading, "c") {
			t.Errorf("%v are read, though the old layout has all", reading)
		}
	})
}

// A shard that is read only stays so when a change that would put it in force again is aborted.
func TestAbortKeepsReadOnlyShards(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	rows := r.write(many("r-", 60)...)
	r.settled()
	r.start(Order{Replace: map[string]string{"a": "c"}}, "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	r.must(r.eras.Finish())
	r.start(Order{Replace: map[string]string{"b": "a"}})
	r.must(r.eras.Abort(false))
	r.settled()
	r.until("all is passed", func() bool { return r.eras.Len() == 1 })
	r.readable(rows)
	r.start(Order{Add: []partition.Shard{{Name: "a", Weight: 1}}})
	r.must(r.eras.Finish())
	r.until("all is passed", func() bool { return r.eras.Len() == 1 })
	if st := r.eras.Status(); len(st.ReadOnly) > 0 {
		t.Errorf("%v are in force, and %v read only", st.InForce, st.ReadOnly)
	}
	r.readable(rows)
}

// A shard that is read only is read again when a flag names it again, and tracks are whole again.
func TestReadOnlyShardComesBack(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	rows := r.write(many("r-", 60)...)
	r.settled()
	r.start(replaceA, "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	r.must(r.eras.Finish())
	r.settled()
	r.until("all is passed", func() bool { return r.eras.Len() == 1 })
	r.restart("b", "c")
	if r.eras.GoneBefore() == 0 || slices.Contains(r.eras.Reading(), "a") {
		t.Errorf("a is not known, and read are %v; gone %d", r.eras.Reading(), r.eras.GoneBefore())
	}
	r.restart("a", "b", "c")
	r.readable(rows)
	if st := r.eras.Status(); r.eras.GoneBefore() != 0 || !slices.Equal(st.ReadOnly, []string{"a"}) {
		t.Errorf("a is known again, gone %d: %+v", r.eras.GoneBefore(), st)
	}
}

// The account of the mirror adds up while that of an earlier change is not at its end.
func TestMirrorsOfTwoChanges(t *testing.T) {
	r := newRig(t, "a", "b")
	r.open()
	r.start(Order{Replace: map[string]string{"a": "c"}}, "c")
	_, err := r.eras.Cut(true)
	r.must(err)
	r.shelves["a"].set(func() { r.shelves["a"].away = true })
	rows := r.write(many("r-", 60)...)
	r.must(r.eras.Abort(false))
	rows = append(rows, r.write(many("s-", 60)...)...)
	r.start(Order{Replace: map[string]string{"a": "d"}}, "d")
	rows = append(rows, r.write(many("t-", 60)...)...)
	a, is := r.eras.MirrorAccount()
	y := a.Pings
	if all := y.Start + y.Written + y.DeadLettered + y.Damaged + y.Elsewhere + y.GivenUp + y.Queued; !is || all != r.totals[pingline.TotalStored] {
		t.Errorf("%d of %d are accounted for: %+v", all, r.totals[pingline.TotalStored], y)
	}
	r.shelves["a"].set(func() { r.shelves["a"].away = false })
	r.settled()
	r.readable(rows)
}

// After an abort no row waits for a new shard, and the log is not held for it: the old shards get
// what it has not, and what it has is read.
func TestAbortWhileNewShardIsDead(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, r *rig){
		"added": func(_ *testing.T, r *rig) { r.start(Order{Add: []partition.Shard{{Name: "c", Weight: 1}}}, "c") },
		"put in the place of another": func(_ *testing.T, r *rig) {
			r.start(replaceA, "c")
			_, err := r.eras.Cut(true)
			r.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "a", "b")
			r.open()
			rows := r.write(many("q-", 30)...)
			begin(t, r)
			rows = append(rows, r.write(many("r-", 60)...)...)
			r.settled()
			r.shelves["c"].set(func() { r.shelves["c"].away = true })
			rows = append(rows, r.write(many("s-", 60)...)...)
			r.until("the others have written", func() bool { return r.shelves["b"].count() > 0 })
			written := r.eras.Written()
			r.must(r.eras.Abort(false))
			if is := r.eras.Written(); is < written {
				t.Errorf("all was written up to %d, and is up to %d", written, is)
			}
			rows = append(rows, r.write(many("t-", 60)...)...)
			r.settled() // c is away
			r.until("all is passed", func() bool { return r.eras.Len() == 1 })
			r.readable(rows)
			r.accounted()
			for _, row := range rows[90:] {
				if !r.shelves["a"].has(row) && !r.shelves["b"].has(row) {
					t.Fatalf("%s is in no old shard", row)
				}
			}
		})
	}
}
