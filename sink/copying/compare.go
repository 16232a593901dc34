package copying

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"pingline"
	"pingline/sink/store"
)

// Difference is a part of a unit that source and target do not have alike.
type Difference struct {
	Unit       Unit
	Cell       uint64 // of pings
	Rider      string // of pings; of points their tags
	From, To   uint64 // how many rows each has
	OnlyInFrom uint64 // rows of the source that the target lacks, or has with other content
	OnlyInTo   uint64 // likewise
}

func (d *Difference) String() string {
	text := fmt.Sprintf("%v, ", d.Unit)
	if d.Unit.Name == "" {
		text += fmt.Sprintf("cell %s, rider %s", strconv.FormatUint(d.Cell, 16), d.Rider)
	} else {
		text += d.Rider
	}
	return text + fmt.Sprintf(": %d in the source, %d in the target; %d only in the source, %d only in the target", d.From, d.To, d.OnlyInFrom, d.OnlyInTo)
}

// rowSum is a count of rows, and a checksum that does not depend on their order.
type rowSum struct {
	n    uint64
	a, b uint64
}

func (s *rowSum) add(a, b uint64) { s.n, s.a, s.b = s.n+1, s.a+a, s.b+b }

// rowHasher makes sums of rows.
type rowHasher struct {
	one, two maphash.Seed
	buf      []byte
}

func newRowHasher() *rowHasher { return &rowHasher{one: maphash.MakeSeed(), two: maphash.MakeSeed()} }

// row returns two hashes of all that a store keeps of a row.
func (h *rowHasher) row(e *pingline.Entry, nano int64) (a, b uint64) {
	h.buf = strconv.AppendInt(h.buf[:0], nano, 10)
	h.buf = pingline.AppendEntry(append(h.buf, ' '), e, 0)
	return maphash.Bytes(h.one, h.buf), maphash.Bytes(h.two, h.buf)
}

// mostNamed is how many differences of a unit are named one by one.
const mostNamed = 20

// Compare reads a unit from both stores, and returns how they differ, by cell and rider: at
// most 20 differences, of as many as it counts. Rows that the target has beside those of the
// source are a difference, too. Memory is taken by cell; where stores differ, by rider in a
// cell, and by row for those that are named.
func (c *Copier) Compare(ctx context.Context, u Unit) (list []Difference, count int, err error) {
	h := newRowHasher()
	var sums [2]map[uint64]rowSum
	for i := range sums {
		if sums[i], err = c.sums(ctx, h, i, u); err != nil {
			return nil, 0, err
		}
	}
	differ := make(map[uint64]bool)
	for i := range sums {
		for cell, s := range sums[i] {
			if s != sums[1-i][cell] {
				differ[cell] = true
			}
		}
	}
	if len(differ) == 0 {
		return nil, 0, nil
	}
	return c.name(ctx, h, u, differ)
}

// sums returns the sums of a unit in a store, by cell; those of points are of cell 0.
func (c *Copier) sums(ctx context.Context, h *rowHasher, side int, u Unit) (map[uint64]rowSum, error) {
	sums := make(map[uint64]rowSum)
	err := c.side(ctx, side, u, func(e *pingline.Entry, nano int64) error {
		s := sums[e.Cell]
		s.add(h.row(e, nano))
		sums[e.Cell] = s
		return nil
	})
	return sums, err
}

// side calls do for each row of a unit, of the source (0) or the target (1).
func (c *Copier) side(ctx context.Context, side int, u Unit, do func(e *pingline.Entry, nano int64) error) error {
	stores, points := [...]store.Reader{c.from, c.to}, [...]store.PointReader{c.fromPoints, c.toPoints}
	if err := each(ctx, stores[side], points[side], u, c.cfg.Rider, do); err != nil {
		return fmt.Errorf("compare %v, %s: %w", u, [...]string{"source", "target"}[side], err)
	}
	return nil
}

// cellRider names the rows of a rider in a cell.
type cellRider struct {
	cell  uint64
	rider string
}

// name finds out whose rows differ in some cells: first by sums, then row by row for those
// that are named.
func (c *Copier) name(ctx context.Context, h *rowHasher, u Unit, cells map[uint64]bool) (list []Difference, count int, err error) {
	sums := make(map[cellRider]*[2]rowSum)
	for side := range 2 {
		err := c.side(ctx, side, u, func(e *pingline.Entry, nano int64) error {
			if !cells[e.Cell] {
				return nil
			}
			of := rowsOf(e)
			both := sums[of]
			if both == nil {
				both = new([2]rowSum)
				of.rider = strings.Clone(of.rider) // the store's memory
				sums[of] = both
			}
			both[side].add(h.row(e, nano))
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	for of, both := range sums {
		if both[0] != both[1] {
			list = append(list, Difference{Unit: u, Cell: of.cell, Rider: of.rider, From: both[0].n, To: both[1].n})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.Rider, b.Rider)) })
	count = len(list)
	list = slices.Clone(list[:min(count, mostNamed)])
	return list, count, c.onlyIn(ctx, h, u, list)
}

// onlyIn counts the rows of differences that one side alone has. It holds a number for each of
// their rows.
func (c *Copier) onlyIn(ctx context.Context, h *rowHasher, u Unit, list []Difference) error {
	rows := make(map[cellRider]map[uint64]int, len(list)) // how often the source has a row beyond the target
	for i := range list {
		rows[cellRider{list[i].Cell, list[i].Rider}] = make(map[uint64]int)
	}
	for side := range 2 {
		err := c.side(ctx, side, u, func(e *pingline.Entry, nano int64) error {
			beyond := rows[rowsOf(e)]
			if beyond == nil {
				return nil
			}
			a, _ := h.row(e, nano)
			if beyond[a] += 1 - 2*side; beyond[a] == 0 {
				delete(beyond, a)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for i := range list {
		d := &list[i]
		for _, n := range rows[cellRider{d.Cell, d.Rider}] {
			if n > 0 {
				d.OnlyInFrom += uint64(n)
			} else {
				d.OnlyInTo += uint64(-n)
			}
		}
	}
	return nil
}

// rowsOf returns whose row an entry is, in the store's memory.
func rowsOf(e *pingline.Entry) cellRider {
	if e.Point != nil {
		return cellRider{e.Cell, fmt.Sprint(e.Point.Tags)}
	}
	return cellRider{e.Cell, e.Rider}
}
