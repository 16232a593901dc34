package rollup

import (
	"cmp"
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

// Finest returns the resolution of the finest cells.
func (r *Rollup) Finest() int { return r.cfg.Resolutions[0] }

// merged returns the newest complete window of each cell of a resolution that is
// not configured.
func (r *Rollup) merged(s *search) (list []CellActivity) {
	r.eachMerged(s, func(t *total) { list = append(list, t.activity(s.res, r.lengths[0])) })
	return list
}

func (r *Rollup) eachMerged(s *search, found func(t *total)) {
	finer := 0 // the coarsest configured resolution: it has the cells of all windows
	for finer+1 < len(r.cfg.Resolutions) && r.cfg.Resolutions[finer+1] > s.res {
		finer++
	}
	for _, c := range r.view.newest(s, finer) {
		if t, ok := r.mergeCell(c, s.res); ok {
			found(&t)
		}
	}
}

// mergeCell merges the total of a cell from the aggregates of a window, and
// returns false if the window is closed by now, or coarser. The view's totals
// of a window tell which of its aggregates are in the cell.
func (r *Rollup) mergeCell(c newest, res int) (_ total, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, open := r.find(0, c.from)
	if !open || r.cfg.Resolutions[r.windows[0][i].res] < res {
		return total{}, false
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
	a := r.activity(0, c.cell, &t, w)
	return totalOf(&a, &t), t.pings > 0
}

// Apart returns totals of this node, in order of cells and then of windows, that are to be added up
// with those of other parts: for each cell that Cells tells of those of the two newest windows or,
// with all, of each window that ended no more than a minute ago, of however few riders; for at most
// most cells. Newest is the beginning of the newest window of this node, 0 if there is none, and
// length that of windows, ms. Of a resolution that is not configured it returns the totals of Cells.
// Config.Apart is needed.
func (r *Rollup) Apart(box partition.Box, res, most int, all bool) (list []PartTotal, newest, length int64, err error) {
	if err := box.Check(); err != nil {
		return nil, 0, 0, err
	}
	if res < 0 || res > r.cfg.Resolutions[0] {
		return nil, 0, 0, fmt.Errorf("res: %d is not a resolution in [0, %d]: finer cells are not counted", res, r.cfg.Resolutions[0])
	}
	s := search{box: box, res: res, from: r.view.live(r.now()), most: most}
	at := slices.Index(r.cfg.Resolutions, res)
	if at < 0 {
		r.eachMerged(&s, func(t *total) { list = append(list, t.part()) })
	}
	v := r.view
	v.mu.RLock()
	defer v.mu.RUnlock()
	times := make(map[uint64]int)
	for i := len(v.windows) - 1; i >= 0 && v.windows[i].from >= s.from; i-- {
		if newest = max(newest, v.windows[i].from); at < 0 {
			break
		}
		of := s // each window has as many cells
		of.children(v.windows[i].lists[at], 0, false, func(cell uint64, found []total) {
			if times[cell]++; all || times[cell] <= 2 {
				list = append(list, found[0].part())
			}
		})
	}
	slices.SortFunc(list, func(a, b PartTotal) int { return cmp.Or(cmp.Compare(a.Cell, b.Cell), cmp.Compare(a.From, b.From)) })
	return list, newest, v.length, nil
}
