package copying_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// picky is a bucket that refuses rows whose event is "bad", and is in trouble at first.
type picky struct {
	*influx.Bucket
	troubles int
}

func (p *picky) Write(ctx context.Context, rows store.Rows) error {
	if p.troubles > 0 {
		p.troubles--
		return &store.Refusal{Kind: store.Retry, Err: errors.New("busy"), Busy: true}
	}
	if bytes.Contains(rows.Bytes, []byte(`event="bad"`)) {
		return &store.Refusal{Kind: store.BadRows, Reason: store.Other, Err: errors.New("no bad events")}
	}
	return p.Bucket.Write(ctx, rows)
}

// twoBuckets returns two buckets of an InfluxDB.
func twoBuckets(t *testing.T, version int) (from, to *influx.Bucket) {
	t.Helper()
	db := influxd.Run(t, influxd.Config{Version: version})
	influxtest.CreateBucket(t, db, "copy", 0)
	return influxtest.Open(t, influxtest.Access(db, "pingline")), influxtest.Open(t, influxtest.Access(db, "copy"))
}

// A target in trouble is waited for; rows that it refuses are handed over one by one, all others
// are there; the comparison finds the refused rows, and does not copy them again.
func TestCopyWithRefusedRows(t *testing.T) {
	from, bucket := twoBuckets(t, 1)
	to := &picky{Bucket: bucket, troubles: 1}
	list := storetest.Days(3000)
	bad := map[string]bool{}
	for _, i := range []int{7, 1000, 1001, 2998} {
		list[i].Event = "bad"
		bad[fmt.Sprint(list[i].Rider, list[i].At)] = true
	}
	write(t, from, list...)
	refused := map[string]int{}
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Whole: true, BatchRows: 300, Writers: 1,
		Refused: func(e *pingline.Entry, why error) error {
			if !strings.Contains(why.Error(), "no bad events") {
				t.Errorf("refused: %v", why)
			}
			refused[fmt.Sprint(e.Rider, e.At)]++
			return nil
		}})
	copies(t, c, plan)
	if s := c.Status(); s.Refused != 4 || s.Done != len(plan) || s.Units != len(plan) || s.RowsDone != s.Rows || int(s.Rows) != len(stored(t, from)) {
		t.Errorf("copied: %+v", s)
	}
	missing := uint64(0)
	for _, d := range differences(t, c, plan, true) {
		missing += d.OnlyInFrom
		if d.OnlyInTo != 0 {
			t.Errorf("only in the target: %v", &d)
		}
	}
	if missing != 4 || len(refused) != 4 {
		t.Errorf("the comparison finds %d rows missing, handed over were %v, want %v", missing, refused, bad)
	}
	for ping := range bad {
		if refused[ping] != 1 {
			t.Errorf("%s was handed over %d times", ping, refused[ping])
		}
	}
}

// The newest day is copied first; copying a unit again changes nothing, and a rider alone is
// copied alone.
func TestCopyOfARider(t *testing.T) {
	from, to := twoBuckets(t, 1)
	list := storetest.Days(2000)
	write(t, from, list...)
	rider := list[0].Rider
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Whole: true, Rider: rider, Refused: none(t)})
	if !slices.IsSortedFunc(plan, func(a, b copying.Planned) int { return int(b.From - a.From) }) || len(plan) < 3 {
		t.Errorf("the plan is %v", plan)
	}
	for range 2 {
		copies(t, c, plan)
		if d := differences(t, c, plan, false); len(d) > 0 {
			t.Errorf("differs: %v", d)
		}
	}
	want := slices.DeleteFunc(stored(t, from), func(e pingline.Entry) bool { return e.Rider != rider })
	if got := stored(t, to); len(got) != len(want) || len(got) == 0 {
		t.Errorf("%d rows of the rider are in the copy, want %d", len(got), len(want))
	}
}

// planted changes rows of a copy in twenty ways, all in series of the source but the last two.
func planted(t *testing.T, to store.Store, list []pingline.Entry) (riders map[string]bool) {
	t.Helper()
	riders = map[string]bool{}
	at := 0
	next := func() pingline.Entry { // of a rider of its own
		for at++; ; at++ {
			if e := list[at]; e.Point == nil && e.Cell != 0 && !riders[e.Rider] && !e.Apart && e.Device == "" {
				riders[e.Rider] = true
				return e
			}
		}
	}
	changes := []func(e *pingline.Entry){
		func(e *pingline.Entry) { e.LatE7++ },
		func(e *pingline.Entry) { e.LonE7-- },
		func(e *pingline.Entry) { e.SetOptional(pingline.HasSpeed, 12.5) },
		func(e *pingline.Entry) { e.SetOptional(1<<1, 359.5) },
		func(e *pingline.Entry) { e.SetOptional(1<<2, 7) },
		func(e *pingline.Entry) { e.SetOptional(1<<3, -3) },
		func(e *pingline.Entry) { e.SetOptional(1<<4, 0.125) },
		func(e *pingline.Entry) { e.Skipped++ },
		func(e *pingline.Entry) { e.Event = "planted" },
		func(e *pingline.Entry) { e.Trip = "planted" },
		func(e *pingline.Entry) { e.At++ },                                            // more than the source has
		func(e *pingline.Entry) { e.Apart, e.LatE7 = true, e.LatE7+5 },                // the same ms, another ns
		func(e *pingline.Entry) { e.Skipped += 1 << 20 },                              // by much
		func(e *pingline.Entry) { e.LatE7, e.LonE7 = e.LonE7/4, e.LatE7/4 },           // a sum of both would not tell
		func(e *pingline.Entry) { e.At -= 2 },                                         //
		func(e *pingline.Entry) { e.Trip, e.Event = "p", "q" },                        // two fields
		func(e *pingline.Entry) { e.Device = "another" },                              // changed tag
		func(e *pingline.Entry) { e.Rider = "somebody"; riders["somebody"] = true },   // not in the source
		func(e *pingline.Entry) { e.Cell = 0x8539220ffffffff; e.Rider = "elsewhere" }, // nor is that
	}
	riders["elsewhere"] = true
	for _, change := range changes {
		e := next()
		if change(&e); e.Rider == "somebody" || e.Rider == "elsewhere" {
			delete(riders, list[at].Rider)
		}
		write(t, to, e)
	}
	return riders
}

// Twenty differences that are planted in a copy are found, each under its rider; all rows that the
// target lacks are copied again, and all that it has beyond stays named.
func TestPlantedDifferences(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			from, to := twoBuckets(t, version)
			list := history(2000)
			for i := range list {
				if list[i].Point == nil {
					list[i].Rider = fmt.Sprintf("rider %d", i%100)
				}
			}
			write(t, from, list...)
			c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Whole: true, Refused: none(t)})
			copies(t, c, plan)
			if d := differences(t, c, plan, false); len(d) > 0 {
				t.Fatalf("a fresh copy differs: %v", d)
			}
			riders := planted(t, to, list)
			for i := range list { // the twentieth: all of a rider is missing
				if rider := list[i].Rider; list[i].Point == nil && !riders[rider] {
					riders[rider] = true
					if err := to.Erase(t.Context(), rider); err != nil {
						t.Fatal(err)
					}
					break
				}
			}
			found := map[string]bool{}
			n, err := c.Verify(t.Context(), plan, 1, false, func(d *copying.Difference) {
				found[d.Rider] = true
				if d.OnlyInFrom+d.OnlyInTo == 0 {
					t.Errorf("no difference: %v", d)
				}
			})
			if err != nil || len(riders) != 20 || n < len(found) {
				t.Fatalf("%d differences, %d riders, %v", n, len(riders), err)
			}
			for rider := range riders {
				if !found[rider] {
					t.Errorf("the difference of %s is not found", rider)
				}
			}
			left := differences(t, c, plan, true)
			for _, d := range left { // InfluxDB keeps a field of an earlier write that the later one has not
				if d.OnlyInFrom > d.OnlyInTo {
					t.Errorf("after it was copied again: %v", &d)
				}
			}
			if len(left) == 0 || len(left) > 12 {
				t.Errorf("after it was copied again there are %d differences of %d", len(left), n)
			}
			if s := c.Status(); s.Differ == 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// By counts alone a missing row is found, and a changed one is in the share of which all rows are
// compared.
func TestCountsAndShares(t *testing.T) {
	from, to := twoBuckets(t, 1)
	list := history(1000)
	write(t, from, list...)
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Refused: none(t)})
	copies(t, c, plan)
	changed := list[8]
	changed.Skipped += 9
	write(t, to, changed)
	count := func(share float64) int {
		n, err := c.Verify(t.Context(), plan, share, false, func(*copying.Difference) {})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(0); n != 0 {
		t.Errorf("by counts alone %d differences", n)
	}
	if n := count(1); n != 1 {
		t.Errorf("of all rows %d differences", n)
	}
	if err := to.Erase(t.Context(), list[1].Rider); err != nil {
		t.Fatal(err)
	}
	if n := count(0); n == 0 {
		t.Error("by counts nothing is missing")
	}
}

// Rows go to the shards of their cells, beside rows that the shards had; rows that stay, stay. A
// unit is deleted only if all of it was copied; and again nothing is done twice.
func TestSeveralTargets(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	from := influxtest.Open(t, influxtest.Access(db, "pingline"))
	var to []copying.Target
	for _, name := range []string{"b", "c"} {
		influxtest.CreateBucket(t, db, name, 0)
		to = append(to, copying.Target{Name: name, Store: influxtest.Open(t, influxtest.Access(db, name))})
	}
	owner := func(e *pingline.Entry) int {
		switch {
		case e.Point != nil:
			return 0
		case e.Cell == 0:
			return -1
		}
		return int(e.Cell>>20) % 2
	}
	list := history(1500)
	write(t, from, list...)
	own := list[9]
	own.Rider = "of b before"
	write(t, to[0].Store, own)
	path := t.TempDir() + "/state"
	begin := func() *copying.DoneFile {
		d, err := copying.OpenDone(path, copying.CopyJob{From: "a", To: "b c"})
		if err == nil {
			err = d.Begin()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	c, plan := newCopier(t, copying.Config{From: from, To: to, Owner: owner, Keep: begin(), Refused: none(t)})
	copies(t, c, plan)
	if d := differences(t, c, plan, false); len(d) > 0 {
		t.Fatalf("differs: %v", d)
	}
	on, want := map[int]int{}, map[int]int{0: 1}
	for _, e := range stored(t, from) {
		want[owner(&e)]++
	}
	for i := range to {
		for _, e := range stored(t, to[i].Store) {
			if on[i]++; owner(&e) != i && e.Rider != own.Rider {
				t.Fatalf("on %s is %+v", to[i].Name, e)
			}
		}
	}
	if on[0] != want[0] || on[1] != want[1] || want[-1] == 0 {
		t.Errorf("%v rows, want %v", on, want)
	}
	if err := to[1].Store.(*influx.Bucket).Erase(t.Context(), list[2].Rider); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		keep := begin()
		c, _ := newCopier(t, copying.Config{From: from, To: to, Owner: owner, Keep: keep, Refused: none(t)})
		kept := map[string]int{}
		if err := c.Delete(t.Context(), plan, func(_ copying.Unit, why string) { kept[why[:5]]++ }); err != nil {
			t.Fatal(err)
		}
		if kept["a tar"] == 0 || len(kept) < 2 {
			t.Errorf("not deleted are %v", kept)
		}
		deleted := 0
		for _, u := range plan {
			if x, _ := keep.Get(u.Unit); x.State == copying.UnitDeleted {
				deleted++
			}
		}
		n := 0
		for _, of := range kept {
			n += of
		}
		if deleted == 0 || deleted+n != len(plan) {
			t.Errorf("%d of %d units are deleted, %v are not", deleted, len(plan), kept)
		}
	}
	left := map[string]bool{}
	all := slices.Concat(stored(t, from), stored(t, to[0].Store), stored(t, to[1].Store))
	for i := range all {
		left[fmt.Sprint(all[i].Rider, all[i].At, all[i].Device)] = true
	}
	for i := range list {
		if e := &list[i]; e.Point == nil && !left[fmt.Sprint(e.Rider, e.At, e.Device)] {
			t.Fatalf("%+v is nowhere", e)
		}
	}
}

// A copy of what may still grow is done again, and its units come last.
func TestGrowingUnits(t *testing.T) {
	from, to := twoBuckets(t, 1)
	write(t, from, storetest.Days(500)...)
	keep, err := copying.OpenDone(t.TempDir()+"/state", copying.CopyJob{})
	if err == nil {
		err = keep.Begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keep.Close() })
	for round := range 2 {
		var order []copying.Done
		c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Growing: true, Keep: keep, Refused: none(t),
			Copied: func(list []copying.Done) (int64, error) { order = append(order, list...); return 0, nil }})
		today := 0
		for _, u := range plan {
			if store.Day(u.From) == store.Day(storetest.Recently) {
				today++
			}
		}
		copies(t, c, plan)
		want := today
		if round == 0 {
			want = len(plan)
		}
		if len(order) != want || today == 0 {
			t.Fatalf("round %d: copied %d of %d units, %d are of today", round, len(order), len(plan), today)
		}
		for i, x := range order {
			if last := i >= len(order)-today; (store.Day(x.From) == store.Day(storetest.Recently)) != last {
				t.Errorf("round %d: number %d of %d is %v", round, i, len(order), x.Unit)
			}
		}
	}
}

// A source without anything has no plan.
func TestEmptySource(t *testing.T) {
	from, to := twoBuckets(t, 1)
	for _, rider := range []string{"", "ana"} {
		if _, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Rider: rider}); len(plan) > 0 {
			t.Errorf("the plan is %v", plan)
		}
	}
	if _, err := copying.New(copying.Config{From: from}); err == nil {
		t.Error("a copy to nowhere")
	}
	c, err := copying.New(copying.Config{From: from, To: []copying.Target{{Store: to}}})
	if err == nil {
		_, err = c.Plan(t.Context(), math.MinInt64, math.MaxInt64)
	}
	if err != nil {
		t.Error(err)
	}
}
