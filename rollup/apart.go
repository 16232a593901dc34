package rollup

import (
	"cmp"
	"slices"
)

// PartTotal is the activity of a part of the riders in a cell in a window. The totals of all parts
// add up to that of all riders, since no rider is in two.
type PartTotal struct {
	Cell uint64 // H3
	From int64  // ms since 1970: when the window begins

	Pings, Riders, Moving uint64
	Speeds, SpeedSum      uint64  // pings whose speed is known, and its sum, mm/s
	SpeedMax              float32 // m/s
}

// Add adds o, of the same cell and window, to t.
func (t *PartTotal) Add(o *PartTotal) {
	t.Pings, t.Riders, t.Moving = t.Pings+o.Pings, t.Riders+o.Riders, t.Moving+o.Moving
	t.Speeds, t.SpeedSum, t.SpeedMax = t.Speeds+o.Speeds, t.SpeedSum+o.SpeedSum, max(t.SpeedMax, o.SpeedMax)
}

// Activity returns t as the activity of windows of length ms in cells of resolution res.
func (t *PartTotal) Activity(res int, length int64) CellActivity {
	return (&total{
		cell: t.Cell, from: t.From, pings: short32(t.Pings), riders: short32(t.Riders), moving: short32(t.Moving),
		speeds: short32(t.Speeds), sum: t.SpeedSum, max: t.SpeedMax,
	}).activity(res, length)
}

// windowTotals are the totals of a window, by resolution, whatever the number of their riders.
type windowTotals struct {
	from  int64
	lists [][]total
}

// keep takes totals of the window that begins at from, as put does. Beyond half of the limit the
// oldest windows go.
func (v *cellView) keep(from int64, totals [][]total) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, known := slices.BinarySearchFunc(v.windows, from, func(w windowTotals, from int64) int { return cmp.Compare(w.from, from) })
	if !known {
		v.windows = slices.Insert(v.windows, i, windowTotals{from: from, lists: make([][]total, len(v.lists))})
	}
	for res, list := range totals {
		if len(list) > 0 {
			v.windows[i].lists[res] = merge(v.windows[i].lists[res], list)
		}
	}
	for len(v.windows) > 1 && v.apart() > v.limit/2 {
		v.windows = slices.Delete(v.windows, 0, 1)
	}
}

// apart returns the bytes of the windows.
func (v *cellView) apart() (n int64) {
	for i := range v.windows {
		for _, list := range v.windows[i].lists {
			n += int64(cap(list)) * totalBytes
		}
	}
	return n
}

func (t *total) part() PartTotal {
	return PartTotal{
		Cell: t.cell, From: t.from, Pings: uint64(t.pings), Riders: uint64(t.riders), Moving: uint64(t.moving),
		Speeds: uint64(t.speeds), SpeedSum: t.sum, SpeedMax: t.max,
	}
}
