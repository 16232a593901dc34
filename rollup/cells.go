package rollup

import (
	"fmt"
	"slices"

	"pingline/partition"
)

// Cells returns the newest complete window of the shortest length of each cell of
// resolution res that reaches into box, if it ended no more than a minute ago, in
// order of their numbers, and at most most of them. A resolution that is not
// configured is merged from the next finer resolution that is configured; if
// there is none, or the box is not valid, it returns an error.
//
// It takes time in proportion to the cells it returns; if they are merged, to
// the finer cells.
func (r *Rollup) Cells(box partition.Box, res, most int) ([]CellActivity, error) {
	if err := box.Check(); err != nil {
		return nil, err
	}
	if res < 0 || res > r.cfg.Resolutions[0] {
		return nil, fmt.Errorf("res: %d is not a resolution in [0, %d]: finer cells are not counted", res, r.cfg.Resolutions[0])
	}
	s := search{box: box, res: res, from: r.view.live(r.now()), most: most}
	if i := slices.Index(r.cfg.Resolutions, res); i >= 0 {
		return r.view.find(&s, i), nil
	}
	return r.merged(&s), nil
}

// merged returns the newest complete window of each cell of a resolution that is
// not configured.
func (r *Rollup) merged(s *search) (list []CellActivity) {
	finer := 0 // the coarsest configured resolution: it has the cells of all windows
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

// mergeCell merges the total of a cell from the aggregates of a window, and
// returns false if the window is closed by now, or coarser. The view's totals
// of a window tell which of its aggregates are in the cell.
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
