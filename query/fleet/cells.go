package fleet

import (
	"time"
	"unsafe"

	"pingline/dedupe/slab"
	"pingline/partition"
)

// Activity is the activity in a cell during a window.
type Activity struct {
	Cell      uint64
	Res       int
	From      int64 // start of the window, ms
	WindowS   int64 // its length, s
	Pings     uint64
	Riders    uint64
	Moving    uint64
	Waiting   uint64
	SpeedMean float64 // m/s
	SpeedMax  float64
}

// mostCells is the most cells of a resolution that are known; beyond it, the last in order
// of their numbers are left out.
const mostCells = 100_000

// layer is the live activity in the cells of a resolution, as of a snapshot. Cells are
// items of a grid, each at its centre.
type layer struct {
	grid   grid
	rows   slab.Slab[Activity] // by item
	list   []cellItem          // in order of cells
	spare  []cellItem          // memory of the list before
	free   []uint32            // items without a cell
	radius float64             // of the largest circle around a cell so far, degrees
	over   bool                // cells were left out

	partial bool // pings of other nodes are missing

	asked time.Time // when somebody looked at it last; guarded by Map.refreshing, as the next
	at    time.Time // snapshot that it is of
}

// cellItem is a cell and the number of its item.
type cellItem struct {
	cell uint64
	item uint32
}

// perCell is about the memory of a cell in a layer, bytes.
const perCell = int64(unsafe.Sizeof(Activity{})+unsafe.Sizeof(item{})+2*unsafe.Sizeof(cellItem{})+4) + perTile

// take takes the activity of snapshot seq, in order of cells.
func (l *layer) take(seq uint32, list []Activity) {
	if l.over = len(list) > mostCells; l.over {
		list = list[:mostCells]
	}
	now, was := l.spare[:0], l.list
	for i := range list {
		a := &list[i]
		for len(was) > 0 && was[0].cell < a.Cell {
			l.drop(seq, was[0].item)
			was = was[1:]
		}
		if len(was) > 0 && was[0].cell == a.Cell {
			now = append(now, was[0])
			if row := l.rows.At(was[0].item); *row != *a {
				*row = *a
				l.grid.touch(seq, was[0].item)
			}
			was = was[1:]
			continue
		}
		now = append(now, cellItem{a.Cell, l.add(seq, a)})
	}
	for i := range was {
		l.drop(seq, was[i].item)
	}
	l.list, l.spare = now, l.list
}

func (l *layer) add(seq uint32, a *Activity) uint32 {
	var i uint32
	if last := len(l.free) - 1; last >= 0 {
		i = l.free[last]
		l.free = l.free[:last]
	} else {
		i = l.rows.Grow()
	}
	*l.rows.At(i) = *a
	circle := partition.Around(a.Cell)
	l.radius = max(l.radius, circle.Radius)
	l.grid.put(seq, i, corner(circle.Lat, circle.Lon), true)
	return i
}

func (l *layer) drop(seq, i uint32) {
	l.grid.remove(seq, i)
	l.free = append(l.free, i)
}

func (l *layer) bytes() int64 {
	return l.grid.bytes() + l.rows.Bytes() + int64(cap(l.list)+cap(l.spare))*int64(unsafe.Sizeof(cellItem{})) + 4*int64(cap(l.free))
}
