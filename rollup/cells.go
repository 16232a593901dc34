package rollup

import (
	"slices"

	"pingline/partition"
)

// newest is a cell and when its newest window begins, ms.
type newest struct {
	cell uint64
	from int64
}

// merged returns the newest complete window of each cell of a resolution that is
// not configured.
func (r *Rollup) merged(s *search) (list []CellActivity) {
	finer := 0 // the coarsest that is: it has the cells of all windows
	for finer+1 < len(r.cfg.Resolutions) && r.cfg.Resolutions[finer+1] > s.res {
		finer++
	}
	for _, c := range r.view.newest(s, finer) {
		if a, ok := r.mergeCell(c, s.res); ok {
			list = append(list, a)
		}
	}
	return list
}

// newest returns the cells that s looks for, from the list of a finer resolution.
func (v *view) newest(s *search, finer int) (cells []newest) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s.children(v.lists[finer], 0, false, func(cell uint64, list []total) {
		c := newest{cell, endless}
		for i := range list {
			c.from = max(c.from, list[i].from)
		}
		cells = append(cells, c)
	})
	return cells
}

// mergeCell merges the total of one cell from the aggregates of a window, and
// returns false if that is closed by now, or coarser. What the view shows of a
// window says which of its aggregates are in the cell.
func (r *Rollup) mergeCell(c newest, res int) (a CellActivity, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, open := r.find(0, c.from)
	if !open || r.cfg.Resolutions[r.windows[0][i].res] < res {
		return a, false
	}
	w := r.windows[0][i]
	r.view.mu.RLock()
	defer r.view.mu.RUnlock()
	var m memory
	var t aggregate
	for _, part := range inside(r.view.lists[w.res], c.cell) {
		if at, known := w.at[part.cell]; known && part.from == c.from {
			t.merge(&m, &w.aggregates[at])
		}
	}
	a = r.activity(0, c.cell, &t, w)
	a.Res = res
	return a, t.pings > 0
}

// inside returns the totals of list that lie in cell.
func inside(list []total, cell uint64) []total {
	res := partition.Res(cell)
	from, _ := slices.BinarySearchFunc(list, cell, func(t total, cell uint64) int {
		if partition.Parent(t.cell, res) < cell {
			return -1
		}
		return 1
	})
	list = list[from:]
	if len(list) == 0 {
		return nil
	}
	return list[:within(list, cell)]
}
