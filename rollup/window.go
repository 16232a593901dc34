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
	clock int64 // before it
}

// window is one window of one length. The shortest are filled by pings. A longer
// one is given the aggregates of each of its parts when that closes: it counts these
// and those of its parts that are open.
type window struct {
	level       int   // index into Config.Windows
	from, until int64 // ms
	res         int   // index into Config.Resolutions: the finest it has; not 0 once coarsened
	mute        bool  // closed before, but a longer one around it is not: here it is only a part of that

	first position // the commit that opened it
	warm  position // where to read from so that the tracks are known by then

	at         map[uint64]int32 // of a cell in aggregates
	aggregates []aggregate
	bytes      int64  // they take
	last       uint64 // commit of its newest ping

	written []uint64 // by resolution: up to which commit its pings are written
	shown   uint64   // up to which commit the live view has them
	due     int64    // when it is to be written next, if anything is new
}

// aggregate returns the aggregate of a cell.
func (w *window) aggregate(m *memory, cell uint64) *aggregate {
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
		w.aggregate(m, cell).merge(m, &list[i])
		w.last = max(w.last, list[i].last)
	}
	w.bytes += m.used - used
}

// coarsen merges w's aggregates into those of the next resolution.
func (w *window) coarsen(m *memory, resolutions []int) {
	old := w.aggregates
	w.at = map[uint64]int32{} // a map that is cleared keeps its size
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

// find returns where among the windows of a level the one is that holds a time,
// or would be.
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

// window returns the window of a level that holds a time. If it is not there it
// is opened by the commit at, and so are the longer ones around it; one that was
// closed only if a longer one around it is open, and mute.
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
// it. What comes later for it comes too late.
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

// relieve makes room by merging the aggregates of the window that takes most into
// coarser ones, until an eighth is free, and reports whether there is room. The
// windows around it follow: they cannot be finer than their parts.
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

// ref is an aggregate and the cell it belongs to at the resolution asked for.
type ref struct {
	cell uint64
	*aggregate
}

// refs appends the aggregates that w counts, its own and those of its open parts,
// by cell. H3 numbers cells such that all of one parent are neighbours then.
func (r *Rollup) refs(list []ref, w *window) []ref {
	list = r.gather(slices.Grow(list, r.held(w)), w, r.cfg.Resolutions[w.res])
	slices.SortFunc(list, func(a, b ref) int { return cmp.Compare(a.cell, b.cell) })
	return list
}

// held returns how many aggregates w has with those of its open parts.
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
