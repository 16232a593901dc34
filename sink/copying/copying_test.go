package copying_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

const day = 24 * 60 * 60 * 1000

// rides returns rows of three days, and some that are apart, late, of events and corrected.
func rides(n int) []pingline.Entry {
	list := storetest.Fleet(3, n)
	for i := range list {
		e := &list[i]
		e.At = storetest.Recently - int64(i%3)*day - int64(i)
		switch i % 10 {
		case 1:
			e.Event = "sos"
		case 2:
			e.Late, e.Apart = true, true
		case 3:
			e.Cell = 0
		case 4:
			e.Late, e.Apart, e.Corrected = true, true, true
		case 5:
			e.Device = "watch"
		}
	}
	return list
}

// write writes rows.
func write(t *testing.T, to store.Store, list ...pingline.Entry) {
	t.Helper()
	for part := range slices.Chunk(list, 2000) {
		var rows store.Rows
		for i := range part {
			rows.Bytes = to.AppendRow(rows.Bytes, &part[i])
			rows.N++
		}
		if err := to.Write(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
	}
}

// stored returns all pings of a store.
func stored(t *testing.T, r store.Reader) (list []pingline.Entry) {
	t.Helper()
	err := r.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		c := *e
		c.Rider, c.Device, c.Event, c.Trip = strings.Clone(e.Rider), strings.Clone(e.Device), strings.Clone(e.Event), strings.Clone(e.Trip)
		list = append(list, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// picky is a bucket that refuses rows whose event is "bad", and is in trouble at first.
type picky struct {
	*influx.Bucket
	troubles int
	writes   int
}

func (p *picky) Write(ctx context.Context, rows store.Rows) error {
	p.writes++
	if p.troubles > 0 {
		p.troubles--
		return &store.Refusal{Kind: store.Retry, Err: errors.New("busy"), Busy: true}
	}
	if bytes.Contains(rows.Bytes, []byte(`event="bad"`)) {
		return &store.Refusal{Kind: store.BadRows, Reason: store.Other, Err: errors.New("no bad events")}
	}
	return p.Bucket.Write(ctx, rows)
}

// A target in trouble is waited for; rows that it refuses are handed over one by one, all
// others are there; the comparison finds them, and changed, missing and added rows.
func TestCopyWithRefusedRows(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	influxtest.CreateBucket(t, db, "copy", 0)
	from := influxtest.Open(t, influxtest.Access(db, "pingline"))
	to := &picky{Bucket: influxtest.Open(t, influxtest.Access(db, "copy")), troubles: 1}
	list := rides(3000)
	bad := map[string]bool{}
	for _, i := range []int{7, 1000, 1001, 2998} {
		list[i].Event = "bad"
		bad[fmt.Sprint(list[i].Rider, list[i].At)] = true
	}
	write(t, from, list...)
	refused := map[string]bool{}
	c, err := copying.New(copying.Config{From: from, To: to, BatchRows: 300, Refused: func(e *pingline.Entry, why error) error {
		if !strings.Contains(why.Error(), "no bad events") {
			t.Errorf("refused: %v", why)
		}
		refused[fmt.Sprint(e.Rider, e.At)] = true
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	units, err := c.Units(t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	var rows, left uint64
	for _, u := range units {
		n, err := c.Copy(t.Context(), u)
		if err != nil {
			t.Fatal(err)
		}
		rows += n.Rows
		left += n.Refused
	}
	want := stored(t, from)
	if rows != uint64(len(want)) || left != 4 || len(refused) != 4 || len(units) < 3 || len(units) > 4 {
		t.Errorf("copied %d rows in %v, refused %d: %v, want %d and %v", rows, units, left, refused, len(want), bad)
	}
	for ping := range bad {
		if !refused[ping] {
			t.Errorf("%s was not handed over", ping)
		}
	}
	compare := func() (all []copying.Difference) {
		t.Helper()
		for _, u := range units {
			list, n, err := c.Compare(t.Context(), u)
			if err != nil || n != len(list) {
				t.Fatalf("%d differences, %v", n, err)
			}
			all = append(all, list...)
		}
		return all
	}
	missing := uint64(0)
	for _, d := range compare() {
		missing += d.OnlyInFrom
		if d.OnlyInTo != 0 {
			t.Errorf("only in the target: %v", &d)
		}
	}
	if missing != 4 {
		t.Errorf("the comparison finds %d rows missing, want 4", missing)
	}
	for i := range list { // they are changed, so that both are alike
		if list[i].Event == "bad" {
			list[i].Event = "good"
			write(t, from, list[i])
			write(t, to, list[i])
		}
	}
	if d := compare(); len(d) > 0 {
		t.Fatalf("alike, and %d differences: %v", len(d), &d[0])
	}
	changed, added := list[500], list[501]
	changed.Skipped++
	added.Rider = "somebody"
	write(t, to, changed, added)
	got := compare()
	slices.SortFunc(got, func(a, b copying.Difference) int { return strings.Compare(a.Rider, b.Rider) })
	if len(got) != 2 {
		t.Fatalf("a changed and an added row are %d differences: %v", len(got), got)
	}
	for i, e := range []pingline.Entry{changed, added} {
		d := &got[slices.IndexFunc(got, func(d copying.Difference) bool { return d.Rider == e.Rider })]
		if d.Cell != e.Cell || d.OnlyInTo != 1 || d.OnlyInFrom != uint64(1-i) {
			t.Errorf("row %d of %s: %v", i, e.Rider, d)
		}
	}
}

// Copying a unit again changes nothing, and a rider alone is copied alone.
func TestCopyOfARider(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	influxtest.CreateBucket(t, db, "copy", 0)
	from, to := influxtest.Open(t, influxtest.Access(db, "pingline")), influxtest.Open(t, influxtest.Access(db, "copy"))
	list := rides(2000)
	write(t, from, list...)
	rider := list[0].Rider
	c, err := copying.New(copying.Config{From: from, To: to, Rider: rider, Refused: func(_ *pingline.Entry, why error) error { return why }})
	if err != nil {
		t.Fatal(err)
	}
	units, err := c.Units(t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, u := range units {
			if u.Name != "" {
				t.Errorf("points of a rider: %v", u)
			}
			if _, err := c.Copy(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if _, n, err := c.Compare(t.Context(), u); n != 0 || err != nil {
				t.Errorf("%v: %d differences, %v", u, n, err)
			}
		}
	}
	want := slices.DeleteFunc(stored(t, from), func(e pingline.Entry) bool { return e.Rider != rider })
	if got := stored(t, to); len(got) != len(want) || len(got) == 0 {
		t.Errorf("%d rows of the rider are in the copy, want %d", len(got), len(want))
	}
}

// Of a job of which a unit is done, the state is read back; another job's is refused.
func TestDoneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	job, u := copying.CopyJob{From: "a", To: "b", Rider: "r"}, copying.Unit{From: 0, To: day}
	s, err := copying.OpenDone(path, job)
	if err != nil || !s.Fresh() {
		t.Fatal(err)
	}
	if err := errors.Join(s.Save(), s.SetDone(u, copying.Copied{Rows: 5, Refused: 1}, 77)); err != nil {
		t.Fatal(err)
	}
	again, err := copying.OpenDone(path, job)
	if err != nil || again.Fresh() || again.RefusedBytes() != 77 {
		t.Fatalf("%+v, %v", again, err)
	}
	if n, ok := again.IsDone(u); !ok || n != (copying.Copied{Rows: 5, Refused: 1}) {
		t.Errorf("the unit has %+v, %v", n, ok)
	}
	if _, ok := again.IsDone(copying.Unit{Name: "p", From: 0, To: day}); ok {
		t.Error("another unit is done")
	}
	job.Rider = ""
	if _, err := copying.OpenDone(path, job); !errors.Is(err, copying.ErrOtherJob) {
		t.Errorf("of another job: %v", err)
	}
}

// The sum of the waits is that of the rate: a pace never lets more rows pass.
func TestPaceKeepsTheRate(t *testing.T) {
	began := time.Now()
	p := copying.NewPace(10_000)
	for range 5 {
		if err := p.Wait(t.Context(), 100); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); took < 40*time.Millisecond { // the first does not wait
		t.Errorf("500 rows at 10,000/s passed in %v", took)
	}
	if err := (*copying.Pace)(nil).Wait(t.Context(), 1e6); err != nil {
		t.Error(err)
	}
}
