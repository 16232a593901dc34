package gather

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync"

	"pingline/partition"
	"pingline/query/fleet"
	"pingline/rollup"
)

// The question for cells is
//
//	u8 resolution; u8 1 if all windows count; uvarint most cells; f64 west, south, east, north
//
// and the answer
//
//	uvarint length of windows, ms; varint beginning of the newest window, ms since 1970
//	uvarint number of totals; of each, in order of cells and of windows
//	    uvarint cell behind the one before; uvarint ms before the newest window
//	    uvarint pings, riders, moving, speeds, sum of speeds; f32 greatest speed
const (
	mostTotals = 400_000 // of an answer: 16 MiB at most
	mostHidden = 50_000  // cells of a part where some may have too few riders
	leastTotal = 1 + 1 + 5 + 4
)

// cellsOfPart are the totals of a part of the riders.
type cellsOfPart struct {
	list           []rollup.PartTotal
	newest, length int64
	err            error
}

// Cells returns the live activity of all riders in at most most cells that touch a box, in order of cells, as
// rollup.Rollup.Cells does, and whether a part is missing. Cells of fewer riders than Config.MinRiders are left out.
func (g *Gatherer) Cells(box partition.Box, res, most int) (list []fleet.Activity, partial bool, err error) {
	if res < 0 {
		res = g.cfg.Rollup.Finest()
	}
	if g.cfg.Parts == 1 {
		counted, err := g.cfg.Rollup.Cells(box, res, most)
		for i := range counted {
			list = append(list, activityOf(&counted[i]))
		}
		return list, false, err
	}
	each, all := most, g.cfg.MinRiders > 1
	if all {
		each = mostHidden
	}
	parts := make([]cellsOfPart, g.cfg.Parts)
	own := &parts[g.cfg.Own]
	own.list, own.newest, own.length, own.err = g.cfg.Rollup.Apart(box, res, each, all)
	if own.err != nil {
		return nil, false, own.err
	}
	question := appendCellsQuestion(box, res, each, all)
	var asked sync.WaitGroup
	g.others(func(part int) {
		asked.Go(func() {
			d, err := g.ask(part, question, nil)
			if err == nil {
				parts[part], err = readCells(&d, part, res, own.length)
			}
			parts[part].err = err
			g.note(part, err)
		})
	})
	asked.Wait()
	newest, oldest := int64(0), int64(math.MaxInt64)
	for i := range parts {
		partial = partial || parts[i].err != nil
		if n := parts[i].newest; n > 0 {
			newest, oldest = max(newest, n), min(oldest, n)
		}
	}
	// A window that only some parts have turned to is not whole yet. A part that is further behind has no pings.
	until := max(oldest, newest-own.length)
	for _, t := range addUp(parts, until, g.cfg.MinRiders) {
		if len(list) == most {
			break
		}
		a := t.Activity(res, own.length)
		list = append(list, activityOf(&a))
	}
	return list, partial, nil
}

// addUp returns the newest window up to a time, of enough riders, of each cell, in order of cells.
func addUp(parts []cellsOfPart, until int64, least uint64) (list []rollup.PartTotal) {
	for {
		cell := uint64(math.MaxUint64)
		for i := range parts {
			if l := parts[i].list; len(l) > 0 {
				cell = min(cell, l[0].Cell)
			}
		}
		if cell == math.MaxUint64 {
			return list
		}
		var sums []rollup.PartTotal // of the cell, a window each
		for i := range parts {
			l := parts[i].list
			for ; len(l) > 0 && l[0].Cell == cell; l = l[1:] {
				if at := slices.IndexFunc(sums, func(s rollup.PartTotal) bool { return s.From == l[0].From }); at >= 0 {
					sums[at].Add(&l[0])
				} else {
					sums = append(sums, l[0])
				}
			}
			parts[i].list = l
		}
		var best *rollup.PartTotal
		for i := range sums {
			if s := &sums[i]; s.From <= until && s.Riders >= least && (best == nil || s.From > best.From) {
				best = s
			}
		}
		if best != nil {
			list = append(list, *best)
		}
	}
}

func activityOf(a *rollup.CellActivity) fleet.Activity {
	return fleet.Activity{
		Cell: a.Cell, Res: a.Res, From: a.From, WindowS: int64(a.Window.Seconds()),
		Pings: a.Pings, Riders: a.Riders, Moving: a.Moving, Waiting: a.Waiting,
		SpeedMean: a.SpeedMean, SpeedMax: a.SpeedMax,
	}
}

func appendCellsQuestion(box partition.Box, res, most int, all bool) []byte {
	dst := []byte{form, askCells, byte(res), 0}
	if all {
		dst[3] = 1
	}
	dst = binary.AppendUvarint(dst, uint64(most))
	for _, v := range [...]float64{box.West, box.South, box.East, box.North} {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	return dst
}

// tellCells tells of the cells of this node.
func (g *Gatherer) tellCells(d *reader, dst []byte) ([]byte, error) {
	res, all, most := int(d.u8()), d.u8(), d.uvarint()
	box := partition.Box{West: d.f64(), South: d.f64(), East: d.f64(), North: d.f64()}
	switch {
	case d.bad || d.left() > 0 || all > 1 || most > mostTotals:
		return nil, errors.New("a question for cells that cannot be read")
	case g.cfg.Rollup == nil:
		return nil, errors.New("the roll-up is off: is --rollup the same at all nodes?")
	}
	list, newest, length, err := g.cfg.Rollup.Apart(box, res, int(most), all == 1)
	if err != nil {
		return nil, err
	}
	if len(list) > mostTotals {
		return nil, errors.New("more totals of cells than an answer may have")
	}
	dst = binary.AppendVarint(binary.AppendUvarint(dst, uint64(length)), newest)
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	last := uint64(0)
	for i := range list {
		t := &list[i]
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, t.Cell-last), uint64(newest-t.From))
		for _, n := range [...]uint64{t.Pings, t.Riders, t.Moving, t.Speeds, t.SpeedSum} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst, last = binary.LittleEndian.AppendUint32(dst, math.Float32bits(t.SpeedMax)), t.Cell
	}
	return dst, nil
}

// readCells reads an answer of the owner of a part, in cells of a resolution and windows of a length.
func readCells(d *reader, part, res int, length int64) (c cellsOfPart, err error) {
	c.length, c.newest = int64(d.uvarint()), d.varint()
	n := d.uvarint()
	switch {
	case d.bad || n > uint64(d.left()/leastTotal):
		return cellsOfPart{}, garbled(part)
	case c.length != length:
		return cellsOfPart{}, errors.New("its windows are of another length: is --rollup-windows the same at all nodes?")
	}
	c.list = make([]rollup.PartTotal, 0, n)
	last := uint64(0)
	for range n {
		step := d.uvarint()
		t := rollup.PartTotal{Cell: last + step, From: c.newest - int64(d.uvarint())}
		t.Pings, t.Riders, t.Moving, t.Speeds, t.SpeedSum = d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
		if t.SpeedMax = d.f32(); d.bad || t.Cell < last || !partition.IsCell(t.Cell, res) || t.Moving > t.Riders || !(t.SpeedMax >= 0) {
			return cellsOfPart{}, garbled(part)
		}
		c.list, last = append(c.list, t), t.Cell
	}
	if d.left() > 0 {
		return cellsOfPart{}, garbled(part)
	}
	return c, nil
}
