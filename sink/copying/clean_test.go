package copying_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/copying"
	"pingline/sink/limit"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// A copy that was broken off is deleted again, with the unit in which it was: rows that the source
// lacks, or has with other content, keep their unit, and units of other days are not looked at.
func TestCleanDeletesCopies(t *testing.T) {
	from, to := twoBuckets(t, 1)
	list := storetest.Days(900)
	write(t, from, list...)
	job := copying.CopyJob{From: "a", To: "b"}
	path := filepath.Join(t.TempDir(), "units")
	keep, err := copying.OpenDone(path, job)
	if err != nil {
		t.Fatal(err)
	}
	if err := keep.Begin(); err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	days := map[int64]bool{} // that were begun
	writes := 0
	broken := &intercepted{Store: to, before: func(rows store.Rows) {
		if writes++; writes > 4 {
			end()
		}
	}}
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: broken}}, Keep: keep, Touches: true, Wait: true, BatchRows: 100, Writers: 1, Refused: none(t)})
	if err := c.Copy(ctx, plan); !errors.Is(err, context.Canceled) {
		t.Fatalf("the copy ended with %v", err)
	}
	if err := keep.Close(); err != nil {
		t.Fatal(err)
	}
	if keep, err = copying.OpenDone(path, job); err != nil { // as after a crash
		t.Fatal(err)
	}
	touched := keep.Touched()
	for _, u := range touched {
		days[u.From] = true
	}
	whole := 0
	for _, u := range touched {
		if _, done := keep.Get(u); done {
			whole++
		}
	}
	copied := len(stored(t, to))
	if whole == 0 || whole == len(touched) || copied == 0 || copied == len(list) {
		t.Fatalf("%d units of %d are copied as a whole, %d rows of %d: the test shows nothing", whole, len(touched), copied, len(list))
	}

	is := func(e *pingline.Entry) string { return fmt.Sprint(e.Rider, " ", e.At, " ", e.Device, " ", e.Event) }
	inA := stored(t, from)
	own := func(day bool, not map[uint64]bool) pingline.Entry {
		i := slices.IndexFunc(inA, func(e pingline.Entry) bool {
			return days[store.Day(e.At)*24*3600*1000] == day && e.Cell != 0 && !not[e.Cell]
		})
		if i < 0 {
			t.Fatal("no row to alter")
		}
		return inA[i]
	}
	alone := own(true, nil) // a row of its own in a unit that was copied
	alone.Rider = "primary"
	other := own(true, map[uint64]bool{alone.Cell: true}) // the same row as in the source, but for its content
	other.Event = "other"
	far := own(false, nil) // of a unit that was not copied, as the source has it
	write(t, to, alone, other, far)
	latch := new(limit.Latch)
	late := own(true, map[uint64]bool{alone.Cell: true, other.Cell: true})
	late.Rider = "late" // comes when its unit was compared
	calls := 0
	back, units := newCopier(t, copying.Config{From: to, To: []copying.Target{{Store: from}}, Wait: true, Latch: latch, Gauges: copying.Gauges{Breaker: func() string {
		if calls++; calls == 2 {
			latch.Enter([]int64{late.At}, []int{0})
			write(t, to, late)
			latch.Leave()
		}
		return ""
	}}})
	units = copying.Touched(units, touched)
	before := stored(t, to)
	for range 2 {
		kept := map[string]int{}
		if err := back.Clean(t.Context(), units, func(u copying.Unit, why string) { kept[why]++ }); err != nil {
			t.Fatal(err)
		}
		if kept["1 of its rows are nowhere else"] < 2 || len(kept) > 2 {
			t.Errorf("kept: %v", kept)
		}
	}
	left := map[string]bool{}
	for _, e := range stored(t, to) {
		left[is(&e)] = true
		if e.Cell != alone.Cell && e.Cell != other.Cell && e.Cell != late.Cell && is(&e) != is(&far) {
			t.Errorf("%s is left", is(&e))
		}
	}
	for _, e := range []pingline.Entry{alone, other, far, late} {
		if !left[is(&e)] {
			t.Errorf("%s is deleted", is(&e))
		}
	}
	if len(left) >= len(before) || len(left) < 4 {
		t.Errorf("%d rows of %d are left", len(left), len(before))
	}
	inAfter := stored(t, from)
	if len(inAfter) != len(inA) {
		t.Errorf("the source has %d rows, and had %d", len(inAfter), len(inA))
	}
	stay, units2 := newCopier(t, copying.Config{From: to, To: []copying.Target{{Store: from}}, Owner: func(*pingline.Entry) int { return -1 }})
	kept := 0
	err = stay.Clean(t.Context(), units2, func(_ copying.Unit, why string) {
		if kept++; !strings.Contains(why, "of its rows belong there") {
			t.Error(why)
		}
	})
	if n := len(stored(t, to)); err != nil || kept == 0 || n != len(left) {
		t.Errorf("%d units are kept, since rows belong there, and %d rows of %d are left: %v", kept, n, len(left), err)
	}
}

// intercepted calls before behind each write that was made.
type intercepted struct {
	store.Store
	before func(rows store.Rows)
}

func (i *intercepted) Write(ctx context.Context, rows store.Rows) error {
	err := i.Store.Write(ctx, rows)
	i.before(rows)
	return err
}

func (i *intercepted) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	return i.Store.(store.Reader).Points(ctx, q, each)
}

// What is planned are the store's own units within those that were touched; of a store with days,
// the cells that were.
func TestTouched(t *testing.T) {
	day := func(d int64, cells ...uint64) (u store.Unit) {
		u = store.DayUnit("", d, store.All().From, store.All().To)
		if len(cells) > 0 {
			u.InCell, u.Cell = true, cells[0]
		}
		return u
	}
	plan := func(units ...store.Unit) (list []copying.Planned) {
		for _, u := range units {
			list = append(list, copying.Planned{Unit: u, Rows: 10})
		}
		return list
	}
	for _, tt := range []struct {
		name          string
		has           []copying.Planned
		touched, want []store.Unit
	}{
		{"cells of cells", plan(day(9, 1), day(9, 2), day(8, 1)), []store.Unit{day(9, 1), day(7, 1)}, []store.Unit{day(9, 1)}},
		{"cells of days", plan(day(9, 1), day(9, 2), day(8, 1)), []store.Unit{day(9)}, []store.Unit{day(9, 1), day(9, 2)}},
		{"days of cells", plan(day(9), day(8)), []store.Unit{day(9, 1), day(9, 5)}, []store.Unit{day(9, 1), day(9, 5)}},
		{"days of days", plan(day(9), day(8)), []store.Unit{day(8)}, []store.Unit{day(8)}},
		{"points", plan(store.Unit{Name: "x", From: 0, To: 5}, store.Unit{Name: "y", From: 0, To: 5}), []store.Unit{{Name: "y", From: 0, To: 5}}, []store.Unit{{Name: "y", From: 0, To: 5}}},
		{"nothing", plan(day(9)), nil, nil},
	} {
		var got []store.Unit
		for _, u := range copying.Touched(tt.has, tt.touched) {
			got = append(got, u.Unit)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
