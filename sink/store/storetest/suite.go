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
	"slices"
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

	// NoAttrs tells that the place keeps no attributes of pings.
	NoAttrs bool

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
		{"attributes are read back as they were written", testAttributes},
		{"written twice is stored once", testTwice},
		{"of a row written twice the last content stays", testLastWins},
		{"a row of an earlier version", testReadyLine},
		{"many write at once", testAtOnce},
		{"the newest of a rider stays, whatever comes first", testNewestStays},
		{"queries select and page", testQueries},
		{"points are stored beside pings", testPoints},
		{"points are read back as they were written", testPointsNamed},
		{"history is listed, read and erased by units", testUnits},
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
// these of want. In a store that cannot be read, pings are counted.
func (p *Place) has(t *testing.T, want []pingline.Entry) {
	t.Helper()
	if r, ok := p.Store.(store.Reader); ok {
		same(t, read(t, r, store.All()), want)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if p.Latest == nil {
		if n, err := p.Points(ctx, ""); err != nil || n != len(want) {
			t.Errorf("%d pings are stored, %v, want %d", n, err, len(want))
		}
		return
	}
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
		c.Rider, c.Device, c.Event, c.Trip, c.Attrs = clone(e.Rider), clone(e.Device), clone(e.Event), clone(e.Trip), pingline.Attrs(clone(string(e.Attrs)))
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
