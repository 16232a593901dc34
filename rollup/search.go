package rollup

import (
	"slices"
	"sort"
	"sync"

	"pingline/partition"
)

// search looks for the cells of a box.
type search struct {
	box  partition.Box
	res  int   // resolution of the cells to find
	from int64 // windows that began before are left out
	most int   // most cells to find
}

// few is the most cells that are tested singly: that takes fewer calls than to
// go down to them.
const few = 8

// visit calls found with the totals of each cell of s.res that reaches into the
// box and has a live total, in order of cells, and for at most s.most cells.
// The totals of list are of the same resolution and lie within cell.
func (s *search) visit(list []total, cell uint64, held bool, found func(cell uint64, list []total)) {
	at := partition.Res(cell)
	if at == s.res {
		if s.lives(list) && (held || s.box.Touches(partition.Around(cell))) {
			s.most--
			found(cell, list)
		}
		return
	}
	if !held && len(list) > few {
		around := spread(cell)
		if held = s.box.Holds(around); !held && !s.box.Touches(around) {
			return
		}
	}
	s.children(list, at+1, held, found)
}

// spread returns the circle around a cell and all cells within it. Each search
// begins at the coarsest cells, whose circles are kept.
func spread(cell uint64) partition.Circle {
	if c, known := coarse()[cell]; known {
		return c
	}
	c := partition.Around(cell)
	c.Radius *= partition.Spread
	return c
}

var coarse = sync.OnceValue(func() map[uint64]partition.Circle {
	circles := map[uint64]partition.Circle{}
	for res := range 2 {
		cells, err := partition.CellsIn(partition.Box{West: -180, South: -90, East: 180, North: 90}, res, 1000)
		if err != nil {
			panic(err) // cannot happen: the globe is valid, and has 122 cells, or 842
		}
		for _, cell := range cells {
			c := partition.Around(cell)
			c.Radius *= partition.Spread
			circles[cell] = c
		}
	}
	return circles
})

// children visits the cells of a resolution that list falls into.
func (s *search) children(list []total, res int, held bool, found func(cell uint64, list []total)) {
	if len(list) <= few || held {
		res = s.res // all of them reach into the box: no test on the way
	}
	for len(list) > 0 && s.most > 0 {
		child := partition.Parent(list[0].cell, res)
		n := within(list, child)
		s.visit(list[:n], child, held, found)
		list = list[n:]
	}
}

func (s *search) lives(list []total) bool {
	return slices.ContainsFunc(list, func(t total) bool { return t.from >= s.from })
}

// within returns how many totals at the beginning of list lie in cell. It takes
// steps of growing length, since most cells hold few.
func within(list []total, cell uint64) int {
	res := partition.Res(cell)
	end := 1
	for end < len(list) && partition.Parent(list[end-1].cell, res) == cell {
		end *= 2
	}
	end = min(end, len(list))
	return sort.Search(end, func(i int) bool { return partition.Parent(list[i].cell, res) != cell })
}

// find returns the totals that s looks for in the list of its resolution.
func (v *cellView) find(s *search, i int) (list []CellActivity) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	s.children(v.lists[i], 0, false, func(_ uint64, found []total) {
		list = append(list, found[0].activity(s.res, v.length))
	})
	return list
}

// newest is a cell and the beginning of its newest window, ms.
type newest struct {
	cell uint64
	from int64
}

// newest returns the cells that s looks for, from the list of a finer resolution.
func (v *cellView) newest(s *search, finer int) (cells []newest) {
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
