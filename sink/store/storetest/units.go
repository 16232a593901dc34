package storetest

import (
	"errors"
	"slices"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// Days returns n pings of three days, all sorts among them: of events, late, apart and
// corrected, without a cell, of another device, and of the first and the last instant of a day.
func Days(n int) []pingline.Entry {
	const day = 24 * 60 * 60 * 1000
	list := Fleet(3, n)
	for i := range list {
		e := &list[i]
		e.At = Recently - int64(i%3)*day - int64(i)
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
	midnight := store.Day(Recently) * day
	for i, at := range []int64{midnight - 1, midnight, midnight - day - 1, midnight - day} {
		if i < n {
			list[i].At, list[i].Late, list[i].Apart = at, true, true
		}
	}
	return list
}

// DayPoints returns n points of a name, of three days.
func DayPoints(name string, n int) []pingline.Entry {
	const day = 24 * 60 * 60 * 1000
	list := make([]pingline.Entry, n)
	for i := range list {
		list[i] = pingline.Entry{Kind: pingline.Activity, Point: &pingline.Point{
			Name: name, At: Recently - int64(i%3)*day - int64(i)*1000,
			Tags:   []pingline.Tag{{Key: "cell", Value: CellText(i)}, {Key: "res", Value: "8"}},
			Fields: []pingline.PointField{pingline.Int("pings", int64(i)), pingline.Float("share", float64(i)/7)},
		}}
	}
	return list
}

// CellText is the text of a cell among 20.
func CellText(i int) string { return string("0123456789abcdefghij"[i%20]) }

// unitOf returns the first of units that e is in.
func unitOf(units map[store.Unit]uint64, e *pingline.Entry) (u store.Unit, ok bool) {
	at, name := e.At, ""
	if e.Point != nil {
		at, name = e.Point.At, e.Point.Name
	}
	for u := range units {
		if u.Name == name && u.From <= at && at < u.To && (!u.InCell || u.Cell == e.Cell) {
			return u, true
		}
	}
	return u, false
}

func testUnits(t *testing.T, p *Place) {
	lister, ok := p.Store.(store.Lister)
	if !ok {
		t.Skip("history is read by days")
	}
	r := p.reader(t)
	const name = "cell_activity"
	rest := append(Days(600), DayPoints(name, 60)...)
	write(t, p.Store, rest)
	write(t, p.Store, rest[:50]) // as a copy does that was broken off
	first, until := Recently-2*24*60*60*1000-300, Recently-100
	units := map[store.Unit]uint64{}
	for _, name := range []string{"", name, "nothing"} {
		err := lister.Units(t.Context(), name, first, until, func(u store.Unit, rows uint64) error {
			if units[u] > 0 {
				t.Errorf("%v is listed twice", u)
			}
			if u.From < first || u.To > until || u.From >= u.To || store.Day(u.From) != store.Day(u.To-1) || u.Name != name {
				t.Errorf("of [%d, %d) %+v is listed", first, until, u)
			}
			units[u] = rows
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want, outside := map[store.Unit]uint64{}, 0
	for i := range rest {
		if u, ok := unitOf(units, &rest[i]); ok {
			want[u]++
		} else if at := rest[i].At; rest[i].Point == nil && at >= first && at < until {
			t.Fatalf("%+v is in no unit", rest[i])
		} else {
			outside++
		}
	}
	if outside == 0 || outside == len(rest) {
		t.Errorf("%d of %d rows are outside", outside, len(rest))
	}
	for u, n := range units {
		if n != want[u] {
			t.Errorf("%v has %d rows, want %d", u, n, want[u])
		}
		got := uint64(0)
		for e := range readUnit(t, p.Store, u) {
			if of, _ := unitOf(map[store.Unit]uint64{u: 1}, e); of != u {
				t.Errorf("of %v came %+v", u, e)
			}
			got++
		}
		if got != want[u] {
			t.Errorf("%v: %d rows are read, want %d", u, got, want[u])
		}
	}
	testEraseUnits(t, p, r, units, rest)
}

// readUnit returns the rows of a unit.
func readUnit(t *testing.T, s store.Store, u store.Unit) map[*pingline.Entry]bool {
	t.Helper()
	rows := map[*pingline.Entry]bool{}
	ping := func(e *pingline.Entry, _ int64) error {
		one := *e
		rows[&one] = true
		return nil
	}
	var err error
	switch q := (store.Query{From: u.From, To: u.To}); {
	case u.Name != "":
		err = s.(store.PointReader).PointsNamed(t.Context(), u.Name, u.From, u.To, func(p *pingline.Point) error {
			return ping(&pingline.Entry{Kind: pingline.Activity, Point: &pingline.Point{Name: p.Name, At: p.At}}, 0)
		})
	case u.InCell:
		err = s.(store.CellReader).PingsOfCells(t.Context(), q, []uint64{u.Cell}, ping)
	default:
		err = s.(store.Reader).Points(t.Context(), q, ping)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// testEraseUnits erases a third of the units, and no row of others.
func testEraseUnits(t *testing.T, p *Place, r store.Reader, units map[store.Unit]uint64, rest []pingline.Entry) {
	eraser, ok := p.Store.(store.UnitEraser)
	if !ok {
		return
	}
	i, gone := 0, map[store.Unit]uint64{}
	for u := range units {
		if i++; i%3 == 0 || u.InCell && u.Cell == 0 || u.Name != "" && len(gone) == 0 {
			gone[u] = 1
			err := eraser.EraseUnit(t.Context(), u)
			if errors.Is(err, store.ErrBeside) && u.InCell && u.Cell == 0 {
				delete(gone, u)
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	left := slices.DeleteFunc(slices.Clone(rest), func(e pingline.Entry) bool { _, of := unitOf(gone, &e); return of || e.Point != nil })
	same(t, read(t, r, store.All()), left)
	for u := range units {
		if got := len(readUnit(t, p.Store, u)); gone[u] > 0 && got != 0 || gone[u] == 0 && uint64(got) != units[u] {
			t.Errorf("%v, erased %v: %d rows are left of %d", u, gone[u] > 0, got, units[u])
		}
	}
}
