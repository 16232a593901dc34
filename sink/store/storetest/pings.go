package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pingline"
	"pingline/sink/store"
)

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
	const writers = 8
	var wg sync.WaitGroup
	var all []pingline.Entry
	for i := range writers {
		list := Fleet(uint64(100+i), 300) // which no other test writes: a queue may remember those
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
