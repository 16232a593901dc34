package copying

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Difference is a part of a unit that source and target do not have alike.
type Difference struct {
	Unit       Unit
	To         string // name of the target
	Cell       uint64 // of pings
	Rider      string // of pings; of points their tags
	From, Has  uint64 // how many rows the source has for the target, and the target has
	OnlyInFrom uint64 // rows of the source that the target lacks, or has with other content
	OnlyInTo   uint64 // likewise
}

func (d *Difference) String() string {
	text := fmt.Sprintf("%s of %s, ", cmp.Or(d.Unit.Name, "pings"), time.UnixMilli(d.Unit.From).UTC().Format(time.DateOnly))
	if d.Unit.Name == "" {
		text += fmt.Sprintf("cell %s, rider %s", strconv.FormatUint(d.Cell, 16), d.Rider)
	} else {
		text += d.Rider
	}
	if d.To != "" && d.To != theTarget {
		text += ", " + d.To
	}
	return text + fmt.Sprintf(": %d in the source, %d in the target; %d only in the source, %d only in the target", d.From, d.Has, d.OnlyInFrom, d.OnlyInTo)
}

const (
	// mostNamed is how many differences of a group are named one by one.
	mostNamed = 20

	mostRiders = 200_000 // whose rows are counted, of riders in cells that differ
	mostSeries = 1 << 20 // of the source that are in memory at once
	mostHashes = 1 << 18 // of rows that differ that are in memory at once, about

	compareCells = 1 << 20 // of a day, where a target cannot read a cell alone
)

// differing is a unit that source and targets do not have alike.
type differing struct {
	unit    Planned
	missing bool // something of it that the source has is not in a target
}

// comparison is that of a group.
type comparison struct {
	c      *Copier
	g      *unitGroup
	hash   rowHasher
	sides  [2]map[cellPlace]RowSum // of source and targets
	stay   map[int]uint64          // rows that stay on the source, by unit
	series map[uint64]uint8        // target of a series of the source; nil: all of the targets' rows count
	pass   uint64                  // of passes: series are compared whose hash is pass
	passes uint64
	level  bool // targets are read once they have what the source had
}

// cellPlace is a cell in a target.
type cellPlace struct {
	to   int
	cell uint64
}

var errManySeries = errors.New("more series than fit into memory")

// compare streams a group from all sides, and returns the places that differ.
func (c *Copier) compare(ctx context.Context, g *unitGroup) (*comparison, map[cellPlace]bool, error) {
	for passes := uint64(1); ; passes *= 2 {
		k := &comparison{c: c, g: g, passes: passes, stay: make(map[int]uint64)}
		k.sides = [2]map[cellPlace]RowSum{make(map[cellPlace]RowSum), make(map[cellPlace]RowSum)}
		var err error
		for k.pass = 0; k.pass < passes && err == nil; k.pass++ {
			err = k.once(ctx)
		}
		if errors.Is(err, errManySeries) {
			continue
		}
		differ := make(map[cellPlace]bool)
		for i, side := range k.sides {
			for at, s := range side {
				if s != k.sides[1-i][at] {
					differ[at] = true
				}
			}
		}
		return k, differ, err
	}
}

// once sums the rows of a pass.
func (k *comparison) once(ctx context.Context) error {
	if k.series = nil; !k.c.cfg.Whole {
		k.series = make(map[uint64]uint8)
	}
	return k.each(ctx, func(side int, at cellPlace, e *pingline.Entry, hash uint64) {
		s := k.sides[side][at]
		s.add(hash)
		k.sides[side][at] = s
	})
}

// each calls do for every row of a pass, first of the source, side 0, and then of the targets.
func (k *comparison) each(ctx context.Context, do func(side int, at cellPlace, e *pingline.Entry, hash uint64)) error {
	c := k.c
	err := c.read(ctx, c.cfg.From, k.g.all(), func(e *pingline.Entry, nano int64) error {
		i, ok := k.g.of(e)
		if !ok {
			return nil
		}
		hash, series := k.hash.row(e, nano)
		if k.passes > 1 && series%k.passes != k.pass {
			return nil
		}
		to := c.cfg.Owner(e)
		if _, keeps := c.expired(e, to); to < 0 || keeps > 0 {
			k.stay[i]++
			return nil
		}
		if k.series != nil {
			if k.series[series] = uint8(to) + 1; len(k.series) > c.mostSeries {
				return &ownError{errManySeries}
			}
		}
		do(0, cellPlace{to, e.Cell}, e, hash)
		return nil
	})
	if err != nil {
		return &storeError{"compare " + k.g.String() + ", source", err}
	}
	if k.level && c.cfg.Level != nil {
		if err := c.cfg.Level(ctx); err != nil {
			return err
		}
	}
	for to := range c.cfg.To {
		err := c.read(ctx, c.cfg.To[to].Store, k.g.all(), func(e *pingline.Entry, nano int64) error {
			if _, ok := k.g.of(e); !ok {
				return nil
			}
			hash, series := k.hash.row(e, nano)
			if k.passes > 1 && series%k.passes != k.pass || k.series != nil && k.series[series] != uint8(to)+1 {
				return nil
			}
			do(1, cellPlace{to, e.Cell}, e, hash)
			return nil
		})
		if err != nil {
			return &storeError{"compare " + k.g.String() + ", " + c.cfg.To[to].Name, err}
		}
	}
	return nil
}

// placeRider is the rows of a rider in a place.
type placeRider struct {
	cellPlace
	rider string
}

// riderOf returns whose row an entry is, in the store's memory; of points their tags.
func riderOf(e *pingline.Entry) string {
	if e.Point != nil {
		return fmt.Sprint(e.Point.Tags)
	}
	return e.Rider
}

// name finds out whose rows differ in some places, first by sums and then row by row. all reports
// whether the list has all of them.
func (k *comparison) name(ctx context.Context, places map[cellPlace]bool) (list []Difference, all bool, err error) {
	all = true
	sums := make(map[placeRider]*[2]RowSum)
	err = k.all(ctx, func(side int, at cellPlace, e *pingline.Entry, hash uint64) {
		if !places[at] {
			return
		}
		of := placeRider{at, riderOf(e)}
		both := sums[of]
		if both == nil {
			if len(sums) == mostRiders {
				all = false
				return
			}
			both = new([2]RowSum)
			of.rider = strings.Clone(of.rider) // the store's memory
			sums[of] = both
		}
		both[side].add(hash)
	})
	if err != nil {
		return nil, false, err
	}
	for of, both := range sums {
		if both[0] != both[1] {
			u := k.unitIn(of.cell).Unit
			list = append(list, Difference{Unit: u, To: k.c.cfg.To[of.to].Name, Cell: of.cell, Rider: of.rider, From: both[0].Rows, Has: both[1].Rows})
		}
	}
	slices.SortFunc(list, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.Rider, b.Rider), cmp.Compare(a.To, b.To))
	})
	err = k.onlyIn(ctx, list)
	if k.c.cfg.Shared && all {
		list = slices.DeleteFunc(list, func(d Difference) bool { return d.OnlyInFrom == 0 })
	}
	return list, all, err
}

// unitIn returns the unit of a cell.
func (k *comparison) unitIn(cell uint64) Planned {
	if k.g.index == nil {
		return k.g.units[0]
	}
	return k.g.units[k.g.index[cell]]
}

// all is each over all passes.
func (k *comparison) all(ctx context.Context, do func(side int, at cellPlace, e *pingline.Entry, hash uint64)) (err error) {
	for k.pass = 0; k.pass < k.passes && err == nil; k.pass++ {
		if k.series != nil {
			clear(k.series)
		}
		err = k.each(ctx, do)
	}
	return err
}

// differentRow is a row of a difference, by the index of that.
type differentRow struct {
	of   int
	hash uint64
}

// onlyIn counts the rows of differences that one side alone has, about mostHashes at once.
func (k *comparison) onlyIn(ctx context.Context, list []Difference) error {
	if len(list) == 0 {
		return nil
	}
	index, rows := make(map[placeRider]int, len(list)), uint64(0)
	for i := range list {
		d := &list[i]
		to := slices.IndexFunc(k.c.cfg.To, func(t Target) bool { return t.Name == d.To })
		index[placeRider{cellPlace{to, d.Cell}, d.Rider}] = i
		rows += max(d.From, d.Has)
	}
	parts := rows/mostHashes + 1
	for part := range parts {
		beyond := make(map[differentRow]int) // how often the source has a row beyond the target
		err := k.all(ctx, func(side int, at cellPlace, e *pingline.Entry, hash uint64) {
			if hash%parts != part {
				return
			}
			i, ok := index[placeRider{at, riderOf(e)}]
			if !ok {
				return
			}
			row := differentRow{i, hash}
			if beyond[row] += 1 - 2*side; beyond[row] == 0 {
				delete(beyond, row)
			}
		})
		if err != nil {
			return err
		}
		for row, n := range beyond {
			if d := &list[row.of]; n > 0 {
				d.OnlyInFrom += uint64(n)
			} else {
				d.OnlyInTo += uint64(-n)
			}
		}
	}
	return nil
}

// verdict is how a group was found.
type verdict struct {
	*comparison
	differ []differing
	list   []Difference // at most 20
	count  int          // of all differences
}

// judge compares a group until all sides answer.
func (c *Copier) judge(ctx context.Context, g *unitGroup) (v verdict, err error) {
	err = c.insist(ctx, ofComparison, func() error {
		if err := c.clear(ctx); err != nil {
			return err
		}
		c.limits(ctx)
		k, places, err := c.compare(ctx, g)
		v = verdict{comparison: k}
		if err == nil && len(places) > 0 {
			var all bool
			k.level = true
			if v.list, all, err = k.name(ctx, places); !all {
				v.count = 1
			}
			v.count += len(v.list)
			v.differ = k.differing(places, v.list, all)
			v.list = slices.Clone(v.list[:min(len(v.list), mostNamed)])
		}
		return err
	})
	return v, err
}

// differing returns the units of differences. If these are not all, it is those of all places,
// and something is missing in each.
func (k *comparison) differing(places map[cellPlace]bool, list []Difference, all bool) (units []differing) {
	at := make(map[store.Unit]int)
	add := func(u Planned, missing bool) {
		i, ok := at[u.Unit]
		if !ok {
			i = len(units)
			at[u.Unit], units = i, append(units, differing{unit: u})
		}
		units[i].missing = units[i].missing || missing
	}
	for p := range places {
		if !all {
			add(k.unitIn(p.cell), true)
		}
	}
	for i := range list {
		add(k.unitIn(list[i].Cell), list[i].OnlyInFrom > 0)
	}
	return units
}

// comparedTogether returns units as they are compared: a day at once, where a target would have
// to read it for each cell.
func (c *Copier) comparedTogether(plan []Planned) []*unitGroup {
	for _, to := range c.cfg.To {
		if _, ok := to.Store.(store.CellReader); !ok {
			return c.groups(plan, 1<<62, compareCells)
		}
	}
	return c.groups(plan, groupRows, groupCells)
}
