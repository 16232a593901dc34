package storetest

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// point returns a point as the log has it.
func point(name string, i int64) pingline.Entry {
	return pingline.Entry{Kind: pingline.Activity, Point: &pingline.Point{
		Name: name, At: Recently + i, Tags: []pingline.Tag{{Key: "cell", Value: "8a"}, {Key: "node", Value: "a b,c=d"}},
		Fields: []pingline.PointField{pingline.Int("pings", i), pingline.Float("mean", 1.5), pingline.Text("note", `a "b", c`), pingline.Bool("early", i%2 == 0)},
	}}
}

func testPoints(t *testing.T, p *Place) {
	pings := Fleet(5, 100)
	list := slices.Clone(pings)
	for i := range int64(100) {
		list = append(list, point("storetest", i))
	}
	write(t, p.Store, list)
	write(t, p.Store, list[150:])
	_, reads := p.Store.(store.Reader)
	reads = reads || p.Latest != nil
	if !reads && p.Points == nil {
		t.Fatal("a store that cannot be queried needs Points, or the suite cannot see what is stored")
	}
	if !reads {
		if n, err := p.Points(t.Context(), ""); err != nil || n != len(pings) {
			t.Errorf("%d pings are stored, %v, want %d", n, err, len(pings))
		}
	}
	if p.Points != nil {
		if n, err := p.Points(t.Context(), "storetest"); err != nil || n != 100 {
			t.Errorf("%d points are stored, %v, want 100", n, err)
		}
	}
	p.has(t, pings)
}

// testPointsNamed reads points back: each as it was written, those of a name and a time
// only, and the last content of what was written twice.
func testPointsNamed(t *testing.T, p *Place) {
	r, ok := p.Store.(store.PointReader)
	if !ok {
		t.Skip("this store cannot be asked for points")
	}
	count := func(name string, from, to int64) map[int64]*pingline.Point {
		got := make(map[int64]*pingline.Point)
		err := r.PointsNamed(t.Context(), name, from, to, func(p *pingline.Point) error {
			if got[p.At] != nil {
				t.Errorf("a point of %d comes twice", p.At)
			}
			c := *p
			c.Tags, c.Fields = slices.Clone(p.Tags), slices.Clone(p.Fields)
			got[p.At] = &c
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return got
	}
	if got := count("storetest", 0, 2*Recently); len(got) != 0 {
		t.Errorf("an empty place has %d points", len(got))
	}
	var list []pingline.Entry
	for i := range int64(100) {
		list = append(list, point("storetest", i), point("storetest2", i))
	}
	bare := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "storetest", At: Recently + 100, Fields: []pingline.PointField{pingline.Float("mean", 2)}}}
	list = append(list, bare)
	write(t, p.Store, list)
	list[0].Point.Fields[0] = pingline.Int("pings", math.MaxInt64)
	write(t, p.Store, append(list[:1:1], Fleet(5, 10)...))
	got := count("storetest", Recently, Recently+101)
	for i := range list {
		want := list[i].Point
		if want.Name != "storetest" {
			continue
		}
		slices.SortFunc(want.Fields, func(a, b pingline.PointField) int { return cmp.Compare(a.Key, b.Key) })
		if has := got[want.At]; has == nil || !has.Equal(want) {
			t.Errorf("of %d there is\n%+v, want\n%+v", want.At, has, want)
		}
	}
	if len(got) != 101 {
		t.Errorf("%d points, want 101", len(got))
	}
	if part := count("storetest", Recently+5, Recently+9); len(part) != 4 || part[Recently+5] == nil || part[Recently+8] == nil {
		t.Errorf("of four ms there are %d points", len(part))
	}
	first, all := list[2].Point, 0
	for _, tags := range [][]pingline.Tag{nil, first.Tags, {{Key: "no", Value: "such"}}, append(slices.Clone(first.Tags), pingline.Tag{Key: "no", Value: "such"})} {
		n := 0
		err := r.PointsNamed(t.Context(), "storetest", first.At, first.At+1, func(*pingline.Point) error { n++; return nil }, tags...)
		if want := map[bool]int{true: 1}[len(tags) == 0 || slices.Equal(tags, first.Tags)]; err != nil || n != want {
			t.Errorf("with tags %v there are %d points, want %d: %v", tags, n, want, err)
		}
		all += n
	}
	if all != 2 || len(first.Tags) == 0 {
		t.Errorf("points of tags %v were found %d times, want 2", first.Tags, all)
	}
	enough, calls := errors.New("enough"), 0
	err := r.PointsNamed(t.Context(), "storetest", 0, 2*Recently, func(*pingline.Point) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.PointsNamed(ctx, "storetest", 0, 2*Recently, func(*pingline.Point) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that it was called off", err)
	}
}
