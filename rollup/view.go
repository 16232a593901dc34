package rollup

import (
	"math"
	"slices"
	"sync"
	"time"
)

// viewAge is how long a total stays in the live view after its window has ended,
// by our own clock, if its cell has no newer total.
const viewAge = int64(time.Minute / time.Millisecond)

// cellView is the newest total of each cell, of the shortest windows. Safe for
// concurrent use.
//
// Its lists are in order of cells. H3 numbers all cells of a parent in a row,
// so that a list is a tree: the cells of a box are found by going down from the
// coarsest parents, past the parents that lie elsewhere.
type cellView struct {
	length int64 // length of a window, ms
	limit  int64 // bytes

	mu     sync.RWMutex // guards the fields below; taken after Rollup.mu
	lists  [][]total    // by resolution, finest first
	floors []int64      // by resolution: windows that began before are left out, ms
	oldest int64        // no total is of a window that began before, ms
	left   uint64       // windows left out for lack of memory

	windows []windowTotals // of the last minute, the oldest first, if they are to be told apart
}

// total is a CellActivity that takes less room.
type total struct {
	cell                  uint64
	from                  int64  // ms
	sum                   uint64 // of the known speeds, mm/s
	pings, riders, moving uint32
	speeds                uint32 // pings whose speed is known
	max                   float32
}

const totalBytes = 48

func newView(resolutions int, length, limit int64) *cellView {
	v := &cellView{length: length, limit: limit, lists: make([][]total, resolutions), floors: make([]int64, resolutions)}
	v.reset()
	return v
}

// reset forgets everything, as the clock has fallen back.
func (v *cellView) reset() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.lists)
	v.windows = nil
	for i := range v.floors {
		v.floors[i] = endless
	}
	v.oldest = math.MaxInt64
}

// put takes totals of the window that begins at from, by resolution, each list in
// order of cells, and reports whether memory was too short for some.
func (v *cellView) put(from int64, totals [][]total) (short bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := v.left
	for res, list := range totals {
		if len(list) == 0 || !v.makeRoom(from, res, list) {
			continue
		}
		v.lists[res] = merge(v.lists[res], list)
		v.oldest = min(v.oldest, from)
	}
	return v.left > left
}

// makeRoom makes room for a list of the window that begins at from, by leaving
// out windows: of the finest cells first, the oldest first. It reports whether
// the list is to be taken. A window that was left out once is never shown again,
// since the rest of it would pass for the whole.
func (v *cellView) makeRoom(from int64, res int, list []total) bool {
	for from >= v.floors[res] {
		had := v.lists[res]
		needs := grown(had, len(had)+fresh(had, list)) - cap(had)
		if v.bytes()+int64(needs)*totalBytes <= v.limit {
			return true
		}
		v.left++
		if finest := slices.IndexFunc(v.lists[:res+1], func(l []total) bool { return len(l) > 0 }); finest >= 0 {
			v.floors[finest] = beginning(v.lists[finest]) + 1
			v.lists[finest] = since(v.lists[finest], v.floors[finest])
		} else {
			v.floors[res] = from + 1
		}
	}
	return false
}

// beginning is when the oldest window of a list begins.
func beginning(list []total) int64 {
	oldest := int64(math.MaxInt64)
	for i := range list {
		oldest = min(oldest, list[i].from)
	}
	return oldest
}

// since returns the totals of windows that began at from or later, in the same
// memory unless most of that would be idle.
func since(list []total, from int64) []total {
	list = slices.DeleteFunc(list, func(t total) bool { return t.from < from })
	switch {
	case len(list) == 0:
		return nil
	case cap(list) > 2*len(list)+1024:
		return slices.Clone(list)
	}
	return list
}

// expire forgets totals that are too old to be shown at now.
func (v *cellView) expire(now int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	from := v.live(now)
	v.windows = slices.DeleteFunc(v.windows, func(w windowTotals) bool { return w.from < from })
	if v.oldest >= from {
		return
	}
	v.oldest = math.MaxInt64
	for res := range v.lists {
		v.lists[res] = since(v.lists[res], from)
		v.oldest = min(v.oldest, beginning(v.lists[res]))
	}
}

// live returns the beginning of the oldest window that is shown at now.
func (v *cellView) live(now int64) int64 { return now - viewAge - v.length }

func (v *cellView) bytes() (n int64) {
	for _, list := range v.lists {
		n += int64(cap(list)) * totalBytes
	}
	return n
}

func (v *cellView) usage() int64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.bytes() + v.apart()
}

func (v *cellView) hidden() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.left
}

// fresh returns how many cells of more are not in list.
func fresh(list, more []total) (n int) {
	i := 0
	for j := range more {
		for i < len(list) && list[i].cell < more[j].cell {
			i++
		}
		if i == len(list) || list[i].cell != more[j].cell {
			n++
		}
	}
	return n
}

// grown returns the capacity of a list that is to hold n.
func grown(list []total, n int) int {
	if n <= cap(list) {
		return cap(list)
	}
	return n + n/8
}

// merge adds more to list, from the end, so that it needs no second list. Of
// two totals of a cell the newer stays, or if they are of the same window the
// total in more.
func merge(list, more []total) []total {
	i, j := len(list)-1, len(more)-1
	n := len(list) + fresh(list, more)
	if n > cap(list) {
		list = append(make([]total, 0, grown(list, n)), list...)
	}
	list = list[:n]
	for at := n - 1; j >= 0; at-- {
		switch {
		case i < 0 || list[i].cell < more[j].cell:
			list[at] = more[j]
			j--
		case list[i].cell > more[j].cell:
			list[at] = list[i]
			i--
		default:
			list[at] = list[i]
			if list[i].from <= more[j].from {
				list[at] = more[j]
			}
			i, j = i-1, j-1
		}
	}
	return list
}

// activity returns t as a CellActivity.
func (t *total) activity(res int, length int64) CellActivity {
	a := CellActivity{
		Cell: t.cell, Res: res, From: t.from, Window: time.Duration(length) * time.Millisecond,
		Pings: uint64(t.pings), Riders: uint64(t.riders), Moving: uint64(t.moving), Waiting: uint64(t.riders - t.moving),
	}
	if a.HasSpeed = t.speeds > 0; a.HasSpeed {
		a.SpeedMean, a.SpeedMax = meanOf(t.sum, uint64(t.speeds)), float64(t.max)
	}
	return a
}

// totalOf returns the part of a, the activity that t counts, that the view keeps.
func totalOf(a *CellActivity, t *aggregate) total {
	return total{
		cell: a.Cell, from: a.From, sum: t.speedSum, speeds: short32(t.speeds), max: t.speedMax,
		pings: short32(a.Pings), riders: short32(a.Riders), moving: short32(a.Moving),
	}
}

func short32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// meanOf returns the mean of n speeds, m/s, to the mm/s.
func meanOf(sum, n uint64) float64 { return math.Round(float64(sum)/float64(n)) / 1000 }
