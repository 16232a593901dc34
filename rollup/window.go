package rollup

import (
	"cmp"
	"slices"

	"pingline/partition"
	"pingline/queue"
)

// position is a place in the log that reading can begin at.
type position struct {
	queue.Cursor
	clock int64 // the clock before the commit
}

// window is a window of time of one of the lengths. The shortest windows are filled
// by pings. A longer window gets the aggregates of each of its parts when the part
// closes: it counts them and the aggregates of its open parts.
type window struct {
	level       int   // index into Config.Windows
	from, until int64 // ms
	res         int   // index into Config.Resolutions: its finest resolution; not 0 once it was coarsened
	mute        bool  // closed before, while a longer window around it is open: counts only as a part of that

	first position // the commit that opened it
	warm  position // where to read from so that the tracks are known at first

	at         map[uint64]int32 // index in aggregates, by cell
	aggregates []aggregate
	bytes      int64  // bytes of at and aggregates
	last       uint64 // commit of its newest ping

	written []uint64 // by resolution: commit up to which its pings are written
	shown   uint64   // commit up to which the live view has its pings
	due     int64    // when to write it next, if it has changed
}

// aggregate returns the aggregate of a cell, which may be near an index.
func (w *window) aggregate(m *memory, cell uint64, near int32) *aggregate {
	if int(near) < len(w.aggregates) && w.aggregates[near].cell == cell {
		return &w.aggregates[near]
	}
	at, known := w.at[cell]
	if !known {
		at = int32(len(w.aggregates))
		w.at[cell] = at
		w.aggregates = append(w.aggregates, aggregate{cell: cell})
		m.used += aggregateBytes
	}
	return &w.aggregates[at]
}

// absorb adds list to w's aggregates.
func (w *window) absorb(m *memory, list []aggregate, resolutions []int) {
	used := m.used
	for i := range list {
		cell := partition.Parent(list[i].cell, resolutions[w.res])
		w.aggregate(m, cell, 0).merge(m, &list[i])
		w.last = max(w.last, list[i].last)
	}
	w.bytes += m.used - used
}

// coarsen merges w's aggregates into aggregates of the next coarser
// resolution.
func (w *window) coarsen(m *memory, resolutions []int) {
	old := w.aggregates
	w.at = map[uint64]int32{} // a cleared map would keep its size
	w.aggregates, w.bytes = nil, 0
	w.res++
	w.absorb(m, old, resolutions)
	release(m, old)
}

func release(m *memory, list []aggregate) {
	for i := range list {
		list[i].reset(m)
	}
	m.used -= int64(len(list)) * aggregateBytes
}

// find returns the index, among the windows of a level, of the window that
// holds a time, and whether it is open.
func (r *Rollup) find(level int, at int64) (int, bool) {
	return slices.BinarySearchFunc(r.windows[level], at, func(w *window, at int64) int {
		switch {
		case w.until <= at:
			return -1
		case w.from > at:
			return 1
		}
		return 0
	})
}

// window returns the window of a level that holds a time. If it is not open it
// is opened by the commit at, and so are the longer windows around it. A window
// that was closed before is opened only if a longer window around it is open,
// and mute.
func (r *Rollup) window(level int, time int64, at position) *window {
	if level == len(r.windows) {
		return nil
	}
	i, found := r.find(level, time)
	if found {
		return r.windows[level][i]
	}
	from := floor(time, r.lengths[level])
	until := from + r.lengths[level]
	around := r.window(level+1, time, at)
	mute := until <= r.record.Shut[level]
	if mute && around == nil {
		return nil
	}
	w := &window{
		level: level, from: from, until: until, mute: mute,
		first: at, warm: r.marks[0], due: until + settle,
		at: map[uint64]int32{}, written: make([]uint64, len(r.cfg.Resolutions)),
	}
	r.windows[level] = slices.Insert(r.windows[level], i, w)
	return w
}

func floor(time, length int64) int64 {
	if rest := time % length; rest < 0 {
		return time - rest - length
	} else {
		return time - rest
	}
}

// close gives w's aggregates to the window around it, if that is open, and forgets
// w. Any further ping of w is late.
func (r *Rollup) close(w *window) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i, _ := r.find(w.level, w.from)
	r.windows[w.level] = slices.Delete(r.windows[w.level], i, i+1)
	r.record.Shut[w.level] = max(r.record.Shut[w.level], w.until)
	if w.level+1 < len(r.windows) {
		if i, open := r.find(w.level+1, w.from); open {
			r.windows[w.level+1][i].absorb(&r.memory, w.aggregates, r.cfg.Resolutions)
		}
	}
	release(&r.memory, w.aggregates)
	r.hot, r.full = nil, false
}

// relieve makes room by merging the aggregates of the largest window into
// aggregates of a coarser resolution, until an eighth is free, and reports
// whether there is room. The windows around it are coarsened too, since they
// cannot be finer than their parts.
func (r *Rollup) relieve() bool {
	r.memory.drop()
	for r.memory.used > r.room/8*7 {
		var most *window
		for _, list := range r.windows {
			for _, w := range list {
				if w.res < len(r.cfg.Resolutions)-1 && (most == nil || w.bytes > most.bytes) {
					most = w
				}
			}
		}
		if most == nil {
			break
		}
		most.coarsen(&r.memory, r.cfg.Resolutions)
		r.stats.Coarsened++
		r.noted.coarsened = r.now()
		for level := most.level + 1; level < len(r.windows); level++ {
			if i, open := r.find(level, most.from); open && r.windows[level][i].res < most.res {
				r.windows[level][i].coarsen(&r.memory, r.cfg.Resolutions)
			}
		}
	}
	return r.memory.used <= r.room
}

// ref is an aggregate and its cell at the resolution asked for.
type ref struct {
	cell uint64
	*aggregate
}

// refs appends the aggregates that w counts, its own and its open parts', in
// order of cells. H3 numbers cells so that all children of a parent are then
// neighbours.
func (r *Rollup) refs(list []ref, w *window) []ref {
	list = r.gather(slices.Grow(list, r.held(w)), w, r.cfg.Resolutions[w.res])
	slices.SortFunc(list, func(a, b ref) int { return cmp.Compare(a.cell, b.cell) })
	return list
}

// held returns how many aggregates w has, with the aggregates of its open
// parts.
func (r *Rollup) held(w *window) int {
	n := len(w.aggregates)
	for _, part := range r.parts(w) {
		n += r.held(part)
	}
	return n
}

func (r *Rollup) gather(list []ref, w *window, res int) []ref {
	for i := range w.aggregates {
		list = append(list, ref{partition.Parent(w.aggregates[i].cell, res), &w.aggregates[i]})
	}
	for _, part := range r.parts(w) {
		list = r.gather(list, part, res)
	}
	return list
}

// parts returns the open windows of the next shorter length within w.
func (r *Rollup) parts(w *window) []*window {
	if w.level == 0 {
		return nil
	}
	from, _ := r.find(w.level-1, w.from)
	to, _ := r.find(w.level-1, w.until)
	return r.windows[w.level-1][from:to]
}
