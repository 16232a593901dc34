// Package storetest is the acceptance suite of stores, and the rides that they are
// tested with.
//
// A store passes if [Run] passes against a real server. The suite shows that rows
// are stored as they were written, once each, that refusals tell the sink how to
// go on, and that a write ends when its time is up. It does not measure speed.
package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Place is an empty place to store pings in. A field that a store has no use
// for is nil: the suite leaves out the tests that need it, and says so.
type Place struct {
	Store store.Store // the suite closes it

	// Refuse prepares the place to refuse the ping that it returns, and no ping
	// without an event.
	Refuse func() (pingline.Entry, error)

	// Intruder is the same place, opened with wrong credentials.
	Intruder store.Store

	// Kill ends the server without warning, or makes writes fail in another way, and
	// Restart brings it up again; Freeze stops it from answering and Thaw ends that.
	Kill, Restart, Freeze, Thaw func() error

	// Points returns how many points of a name are stored. A store that is no Reader
	// must have it, and counts pings by the name "" as well.
	Points func(ctx context.Context, name string) (int, error)

	// Latest returns the newest ping of each rider, in any order. A store has it that keeps
	// nothing else: it is no Reader, and passes over points that are no pings.
	Latest func(ctx context.Context) ([]pingline.Entry, error)
}

// patience is how long an answer of a store may take on a busy machine.
const patience = 5 * time.Minute

// Run holds a store to the contract. open returns an empty place that can be
// written to at once, a new place for each test, and is called once for each.
func Run(t *testing.T, open func(t *testing.T) Place) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, p *Place)
	}{
		{"rows depend on the entry alone", testRows},
		{"entries are read back as they were written", testReadBack},
		{"written twice is stored once", testTwice},
		{"of a row written twice the last content stays", testLastWins},
		{"a row of an earlier version", testReadyLine},
		{"many write at once", testAtOnce},
		{"the newest of a rider stays, whatever comes first", testNewestStays},
		{"queries select and page", testQueries},
		{"points are stored beside pings", testPoints},
		{"points are read back as they were written", testPointsNamed},
		{"one refused row among 10,000", testRefusedRow},
		{"wrong credentials are for an operator", testIntruder},
		{"a dead server is tried again", testKilled},
		{"a frozen server does not hold a write longer than it may take", testFrozen},
		{"a write that is called off", testCalledOff},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := open(t)
			defer func() {
				if err := p.Store.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}()
			tt.test(t, &p)
		})
	}
}

// rows encodes entries for a store.
func rows(s store.Store, list []pingline.Entry) store.Rows {
	r := store.Rows{Bytes: make([]byte, 0, 256*len(list))}
	for i := range list {
		r.Bytes = s.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}

// write writes entries in a single attempt, which must succeed.
func write(t *testing.T, s store.Store, list []pingline.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r := rows(s, list)
	before := bytes.Clone(r.Bytes)
	if err := s.Write(ctx, r); err != nil {
		t.Fatalf("write of %d rows: %v", len(list), err)
	}
	if !bytes.Equal(r.Bytes, before) {
		t.Error("Write has changed the rows that it was given")
	}
}

// reader returns the store as a store.Reader, or skips the test.
func (p *Place) reader(t *testing.T) store.Reader {
	t.Helper()
	r, ok := p.Store.(store.Reader)
	if !ok {
		t.Skip("this store cannot be queried")
	}
	return r
}

// seen skips the test if nobody can see what is stored.
func (p *Place) seen(t *testing.T) {
	t.Helper()
	if p.Latest == nil {
		p.reader(t)
	}
}

// has checks what is stored: of a store that keeps only the newest ping of each rider,
// these of want. Nobody sees what is in a store that cannot be read.
func (p *Place) has(t *testing.T, want []pingline.Entry) {
	t.Helper()
	if r, ok := p.Store.(store.Reader); ok {
		same(t, read(t, r, store.All()), want)
		return
	}
	if p.Latest == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := p.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, compare)
	index := make(map[string]int)
	var newest []pingline.Entry
	for _, e := range want {
		i, known := index[e.Rider]
		switch {
		case !known:
			index[e.Rider] = len(newest)
			newest = append(newest, e)
		case e.At >= newest[i].At:
			newest[i] = e
		}
	}
	same(t, got, newest)
}

// read returns the entries that a query selects.
func read(t *testing.T, r store.Reader, q store.Query) (list []pingline.Entry) {
	t.Helper()
	err := r.Points(t.Context(), q, func(e *pingline.Entry, nano int64) error {
		if nano != e.Nano() {
			t.Errorf("%s at %d is stored at ns %d, want %d", e.Rider, e.At, nano, e.Nano())
		}
		c := *e
		c.Rider, c.Device, c.Event, c.Trip = clone(e.Rider), clone(e.Device), clone(e.Event), clone(e.Trip)
		list = append(list, c)
		return nil
	})
	if err != nil {
		t.Fatalf("query %+v: %v", q, err)
	}
	slices.SortFunc(list, compare)
	return list
}

func clone(s string) string { return string([]byte(s)) }

// compare orders entries by the fields that identify a row.
func compare(a, b pingline.Entry) int {
	return cmp.Or(cmp.Compare(a.Rider, b.Rider), cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Nano(), b.Nano()), cmp.Compare(a.Cell, b.Cell))
}

// same checks that got are the entries of want, both in order, as stores know them.
func same(t *testing.T, got, want []pingline.Entry) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, compare)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || !got[i].Equal(&want[i]) {
			t.Fatalf("%d entries, want %d; the first that differs is number %d:\n%+v, want\n%+v",
				len(got), len(want), i, got[min(i, len(got)):min(i+1, len(got))], want[min(i, len(want)):min(i+1, len(want))])
		}
	}
}

func testRows(t *testing.T, p *Place) {
	long := pingline.Entry{Verdict: pingline.Accepted}
	name := string(bytes.Repeat([]byte("n"), pingline.MaxID))
	long.Rider, long.Device, long.Trip, long.At = name, name, name, Recently
	full := point("p", 1)
	full.Point.Fields = append(full.Point.Fields, pingline.Text("full", string(bytes.Repeat([]byte{'"'}, 1800))))
	if err := full.Point.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, e := range append(Fleet(1, 200), long, point("p", 1), full) {
		before := e
		one := p.Store.AppendRow(nil, &e)
		two := p.Store.AppendRow([]byte("x"), &e)
		if len(one) == 0 || len(one) > store.MaxRow || !bytes.Equal(two[1:], one) || !e.Equal(&before) {
			t.Fatalf("row of %+v: %d bytes, %q, then %q", before, len(one), one, two)
		}
	}
}

func testReadBack(t *testing.T, p *Place) {
	p.seen(t)
	list := Fleet(1, 1000)
	for i := range list {
		switch i % 10 {
		case 1:
			list[i].Event = "sos"
		case 2:
			list[i].Late, list[i].Apart = true, true
		case 3:
			list[i].Cell = 0
		case 4:
			list[i].Late, list[i].Apart, list[i].Corrected = true, true, true
		}
	}
	for i, e := range []pingline.Entry{list[0], list[1]} { // 0 is not unknown, and a name begins another
		e.Rider, e.At, e.Known = list[0].Rider+"x", Recently+int64(i), 0
		for k := range pingline.Numbers {
			e.SetOptional(1<<k, 0)
		}
		list = append(list, e)
	}
	ids := []string{
		"a b", "a,b=c", "+49 170/1|{x}", `"q"`, "it's", "Zoë", "李小龍", "🚕", "a%20b", "$1", "a;b--", "<b>&", "#c", "a:b", "e\u0301", "\u00e9",
		string(bytes.Repeat([]byte("="), pingline.MaxID)),
	}
	for i, id := range ids {
		e := list[0]
		e.Rider, e.Device, e.Trip, e.At = id, id, id, Recently+int64(i)
		list = append(list, e)
	}
	far := list[0]
	far.Rider, far.At, far.Altitude, far.Known = "far", -1, -1e5, pingline.HasAltitude
	far.Numbers()[0], far.Numbers()[1], far.Numbers()[2], far.Numbers()[4] = 0, 0, 0, 0
	list = append(list, far)
	write(t, p.Store, list)
	p.has(t, list)
	if p.Latest != nil {
		return
	}
	r := p.reader(t)
	for _, id := range ids {
		q := store.All()
		q.Rider, q.Device = id, id
		if got := read(t, r, q); len(got) != 1 || got[0].Rider != id || got[0].Device != id {
			t.Errorf("points of rider %q: %+v", id, got)
		}
	}
}

// testLastWins writes a row, and then the same row with other content.
func testLastWins(t *testing.T, p *Place) {
	p.seen(t)
	list := Fleet(12, 50)
	write(t, p.Store, list)
	for i := range list {
		list[i].Skipped += 7
		list[i].Trip = "changed"
	}
	write(t, p.Store, append(slices.Clone(list), list[:10]...)) // ten rows twice in the same write
	p.has(t, list)
}

// testReadyLine writes a row of an earlier version beside pings: the store takes it
// or refuses it, and the pings are stored.
func testReadyLine(t *testing.T, p *Place) {
	line := pingline.Entry{Kind: pingline.Self, Line: fmt.Sprintf("pingline_ready,node=a up=1i %d", Recently)}
	if n := len(p.Store.AppendRow(nil, &line)); n == 0 || n > store.MaxRow {
		t.Fatalf("its row has %d bytes", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Store.Write(ctx, rows(p.Store, []pingline.Entry{line})); err != nil {
		_ = refusalOf(t, err, store.BadRows)
	}
	list := Fleet(13, 10)
	write(t, p.Store, list)
	p.has(t, list)
}

func testTwice(t *testing.T, p *Place) {
	p.seen(t)
	list := Fleet(2, 500)
	for i := range list {
		list[i].Apart = list[i].Late
	}
	write(t, p.Store, list)
	write(t, p.Store, list[:300])
	write(t, p.Store, list[200:])
	p.has(t, list)
}

func testAtOnce(t *testing.T, p *Place) {
	p.seen(t)
	const writers = 8
	var wg sync.WaitGroup
	var all []pingline.Entry
	for i := range writers {
		list := Fleet(uint64(10+i), 300)
		all = append(all, list...)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := p.Store.Write(ctx, rows(p.Store, list)); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	wg.Wait()
	p.has(t, all)
}

// testNewestStays writes pings in parts, many at once and in no order: of each rider the
// newest is left.
func testNewestStays(t *testing.T, p *Place) {
	if p.Latest == nil {
		t.Skip("this store keeps more than the newest")
	}
	list := Fleet(14, 2000)
	mixed := slices.Clone(list)
	rand.New(rand.NewPCG(14, 0)).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
	var wg sync.WaitGroup
	for part := range slices.Chunk(mixed, 250) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := p.Store.Write(ctx, rows(p.Store, part)); err != nil {
				t.Errorf("write: %v", err)
			}
		})
	}
	wg.Wait()
	p.has(t, list)
	write(t, p.Store, list[:1900]) // again, and all of it older
	p.has(t, list)
}

func testQueries(t *testing.T, p *Place) {
	r := p.reader(t)
	all := Fleet(3, 1000)
	crowd := Fleet(4, 1)[0] // pings of the same ms
	for i := range 20 {
		e := crowd
		e.Rider, e.Device, e.Cell, e.LatE7, e.Late, e.Apart, e.At = "crowd", "", 0, e.LatE7+int32(1000*i), true, true, Recently
		all = append(all, e)
	}
	write(t, p.Store, all)
	pick := func(want func(e *pingline.Entry) bool) (list []pingline.Entry) {
		for i := range all {
			if want(&all[i]) {
				list = append(list, all[i])
			}
		}
		return list
	}
	whole := store.All()
	rider := all[0].Rider
	for _, tt := range []struct {
		name string
		q    store.Query
		want func(e *pingline.Entry) bool
	}{
		{"a rider", store.Query{From: whole.From, To: whole.To, Rider: rider}, func(e *pingline.Entry) bool { return e.Rider == rider }},
		{"a device of a rider", store.Query{From: whole.From, To: whole.To, Rider: rider, Device: "phone:2"},
			func(e *pingline.Entry) bool { return e.Rider == rider && e.Device == "phone:2" }},
		{"from, and before to", store.Query{From: Recently + 5, To: Recently + 9}, func(e *pingline.Entry) bool { return e.At >= Recently+5 && e.At < Recently+9 }},
		{"nobody", store.Query{From: whole.From, To: whole.To, Rider: "nobody"}, func(*pingline.Entry) bool { return false }},
		{"a name that is a query", store.Query{From: whole.From, To: whole.To, Rider: `x' OR 'a'='a" OR "a"="a`}, func(*pingline.Entry) bool { return false }},
	} {
		t.Run(tt.name, func(t *testing.T) { same(t, read(t, r, tt.q), pick(tt.want)) })
	}
	t.Run("the newest of a series", func(t *testing.T) {
		newest := make(map[string]int64)
		for _, e := range pick(func(e *pingline.Entry) bool { return e.Rider == rider }) {
			newest[series(&e)] = max(newest[series(&e)], e.At)
		}
		got := read(t, r, store.Query{From: whole.From, To: whole.To, Rider: rider, Limit: 1, Newest: true})
		if len(got) != len(newest) {
			t.Errorf("%d points of %d series", len(got), len(newest))
		}
		for _, e := range got {
			if e.At != newest[series(&e)] {
				t.Errorf("the newest of %s is of %d, want %d", series(&e), e.At, newest[series(&e)])
			}
		}
	})
	t.Run("pages within one ms", func(t *testing.T) {
		var got []pingline.Entry
		q := store.Query{From: Recently, To: Recently + 1, Rider: "crowd", Limit: 7}
		for range 10 {
			page := read(t, r, q)
			if len(page) > 7 {
				t.Fatalf("%d points on a page of 7", len(page))
			}
			got = append(got, page...)
			if len(page) < 7 {
				break
			}
			q.FromNano = page[len(page)-1].Nano() + 1
		}
		same(t, got, pick(func(e *pingline.Entry) bool { return e.Rider == "crowd" }))
	})
	t.Run("each series is in order", func(t *testing.T) {
		for _, newest := range []bool{false, true} {
			last := make(map[string]int64)
			err := r.Points(t.Context(), store.Query{From: whole.From, To: whole.To, Newest: newest}, func(e *pingline.Entry, nano int64) error {
				key := e.Rider + " " + series(e)
				at := e.At*pingline.NanosPerMilli + nano
				if before, ok := last[key]; ok && (newest && at > before || !newest && at < before) {
					return fmt.Errorf("newest first %v: %s has %d behind %d", newest, key, at, before)
				}
				last[key] = at
				return nil
			})
			if err != nil || len(last) < 10 {
				t.Errorf("%d series, %v", len(last), err)
			}
		}
	})
	t.Run("a read that is called off", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Points(ctx, whole, func(*pingline.Entry, int64) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v, want that it was called off", err)
		}
	})
	t.Run("a caller who has had enough", func(t *testing.T) {
		enough, calls := errors.New("enough"), 0
		err := r.Points(t.Context(), whole, func(*pingline.Entry, int64) error { calls++; return enough })
		if !errors.Is(err, enough) || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

func series(e *pingline.Entry) string { return fmt.Sprint(e.Cell, " ", e.Device, " ", e.Late) }

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

// refusalOf returns the refusal that an error must wrap.
func refusalOf(t *testing.T, err error, kind store.Kind) *store.Refusal {
	t.Helper()
	r := new(store.Refusal)
	if !errors.As(err, &r) || r.Kind != kind || r.Err == nil {
		t.Fatalf("the error is %v (%+v), want a refusal of kind %v", err, r, kind)
	}
	if n := len(r.Err.Error()); n > 2<<10 {
		t.Errorf("the store's words have %d bytes", n)
	}
	if kind == store.Configure && (!slices.Contains(store.Stops, r.Reason) || r.Advice == "") {
		t.Errorf("reason %q is none of %q, or there is no advice: %q", r.Reason, store.Stops, r.Advice)
	}
	if kind == store.BadRows && !slices.Contains(store.Reasons, r.Reason) {
		t.Errorf("reason %q is none of %q", r.Reason, store.Reasons)
	}
	return r
}

func testRefusedRow(t *testing.T, p *Place) {
	if p.Refuse == nil {
		t.Skip("this store refuses no row for its content")
	}
	refused, err := p.Refuse()
	if err != nil {
		t.Fatal(err)
	}
	list := Fleet(6, 10_000)
	list[6789] = refused
	writes := 0
	var bad []int
	var deliver func(from, to int)
	deliver = func(from, to int) { // bisects, as the sink does
		writes++
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		err := p.Store.Write(ctx, rows(p.Store, list[from:to]))
		if err == nil {
			return
		}
		r := refusalOf(t, err, store.BadRows)
		if !slices.Contains(store.Reasons, r.Reason) {
			t.Fatalf("reason %q is none of %q", r.Reason, store.Reasons)
		}
		for _, i := range r.Suspects {
			if i < 0 || i >= to-from {
				t.Fatalf("row %d of %d is suspected", i, to-from)
			}
		}
		if to-from == 1 || r.All {
			for i := from; i < to; i++ {
				bad = append(bad, i)
			}
			return
		}
		deliver(from, (from+to)/2)
		deliver((from+to)/2, to)
	}
	deliver(0, len(list))
	if !slices.Equal(bad, []int{6789}) {
		t.Errorf("rows %d were refused, want 6789 alone", bad)
	}
	if writes > 40 {
		t.Errorf("%d writes", writes)
	}
	p.has(t, slices.Delete(list, 6789, 6790))
}

func testIntruder(t *testing.T, p *Place) {
	if p.Intruder == nil {
		t.Skip("this store asks for no credentials")
	}
	list := Fleet(7, 10)
	for name, r := range map[string]store.Rows{"rows": rows(p.Intruder, list), "no rows": {}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			refusal := refusalOf(t, p.Intruder.Write(ctx, r), store.Configure)
			if refusal.Reason != store.Credentials && refusal.Reason != store.Rights || refusal.Advice == "" {
				t.Errorf("reason %q, advice %q", refusal.Reason, refusal.Advice)
			}
		})
	}
	write(t, p.Store, nil) // the owner's credentials are fine
}

func testKilled(t *testing.T, p *Place) {
	if p.Kill == nil || p.Restart == nil {
		t.Skip("this store has no server to kill")
	}
	list := Fleet(8, 200)
	write(t, p.Store, list[:100])
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = refusalOf(t, p.Store.Write(ctx, rows(p.Store, list[100:])), store.Retry)
	_ = refusalOf(t, p.Store.Write(ctx, store.Rows{}), store.Retry)
	if err := p.Restart(); err != nil {
		t.Fatal(err)
	}
	for {
		err := p.Store.Write(ctx, rows(p.Store, list[100:]))
		if err == nil {
			break
		}
		_ = refusalOf(t, err, store.Retry)
	}
	p.has(t, list)
}

func testFrozen(t *testing.T, p *Place) {
	if p.Freeze == nil || p.Thaw == nil {
		t.Skip("this store has no server to freeze")
	}
	list := Fleet(9, 100)
	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := p.Store.Write(ctx, rows(p.Store, list))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v, want that the time is up", err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	write(t, p.Store, list)
	p.has(t, list)
}

func testCalledOff(t *testing.T, p *Place) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := p.Store.Write(ctx, rows(p.Store, Fleet(11, 10)))
	if !errors.Is(err, context.Canceled) || errors.As(err, new(*store.Refusal)) {
		t.Errorf("the error is %v, want that it was called off", err)
	}
}
