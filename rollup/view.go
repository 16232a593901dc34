package rollup

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"pingline/partition"
)

// viewAge is how long a total stays in the live view, by when its window began,
// if its cell has no newer one.
const viewAge = int64(time.Minute / time.Millisecond)

// view is the newest total of each cell, of the shortest windows. Safe for
// concurrent use.
type view struct {
	mu     sync.RWMutex
	cells  []map[uint64]CellActivity // by resolution
	newest int64                     // window, ms

	placing sync.Mutex
	circles map[uint64]partition.Circle
}

// mostCircles bounds how many cells the view knows the place of.
const mostCircles = 1 << 17

func (v *view) init(resolutions int) {
	for range resolutions {
		v.cells = append(v.cells, map[uint64]CellActivity{})
	}
	v.circles = map[uint64]partition.Circle{}
	v.newest = endless
}

// put takes totals of the window that begins at from, by resolution.
func (v *view) put(from int64, totals [][]CellActivity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for res, list := range totals {
		for i := range list {
			if had, ok := v.cells[res][list[i].Cell]; !ok || had.From <= from {
				v.cells[res][list[i].Cell] = list[i]
			}
		}
	}
	if from <= v.newest {
		return
	}
	v.newest = from
	for _, cells := range v.cells {
		for cell, a := range cells {
			if a.From < from-viewAge {
				delete(cells, cell)
			}
		}
	}
}

// circle returns the circle around a cell.
func (v *view) circle(cell uint64) partition.Circle {
	v.placing.Lock()
	defer v.placing.Unlock()
	c, known := v.circles[cell]
	if !known {
		if len(v.circles) >= mostCircles {
			clear(v.circles)
		}
		c = partition.Around(cell)
		v.circles[cell] = c
	}
	return c
}

// list returns the totals of a resolution.
func (v *view) list(res int) []CellActivity {
	v.mu.RLock()
	defer v.mu.RUnlock()
	list := make([]CellActivity, 0, len(v.cells[res]))
	for _, a := range v.cells[res] {
		list = append(list, a)
	}
	return list
}

// Cells returns, for each cell of resolution res that reaches into box, its
// newest complete window of the shortest length, if that began no more than a
// minute before the newest of all; in order of their numbers. A resolution that
// is not configured is merged from the next finer one that is; if there is none,
// or the box is not valid, it returns an error.
func (r *Rollup) Cells(box partition.Box, res int) ([]CellActivity, error) {
	if err := box.Check(); err != nil {
		return nil, err
	}
	if res < 0 || res > r.cfg.Resolutions[0] {
		return nil, fmt.Errorf("resolution %d not in [0, %d]", res, r.cfg.Resolutions[0])
	}
	var list []CellActivity
	if i := slices.Index(r.cfg.Resolutions, res); i >= 0 {
		list = r.view.list(i)
	} else {
		list = r.merged(res)
	}
	list = slices.DeleteFunc(list, func(a CellActivity) bool { return !box.Touches(r.view.circle(a.Cell)) })
	slices.SortFunc(list, func(a, b CellActivity) int { return cmp.Compare(a.Cell, b.Cell) })
	return list, nil
}

// merged returns the newest complete window of each cell of a resolution that is
// not configured.
func (r *Rollup) merged(res int) (list []CellActivity) {
	r.view.mu.RLock()
	oldest := r.view.newest - viewAge
	r.view.mu.RUnlock()
	var m memory
	var refs []ref
	seen := map[uint64]bool{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range slices.Backward(r.windows[0]) {
		if w.shown == 0 || w.from < oldest || r.cfg.Resolutions[w.res] < res {
			continue
		}
		refs = r.refs(refs[:0], w)
		for i := 0; i < len(refs); {
			var t tally
			cell := partition.Parent(refs[i].cell, res)
			for ; i < len(refs) && partition.Parent(refs[i].cell, res) == cell; i++ {
				if !seen[cell] {
					t.merge(&m, refs[i].tally)
				}
			}
			if !seen[cell] {
				seen[cell] = true
				a := r.activity(0, cell, &t, w)
				a.Res = res
				list = append(list, a)
			}
			t.reset(&m)
		}
	}
	return list
}
