package rollup

import "unsafe"

// All parts that grow with the pings take MaxBytes together. The live view and the
// tracks without speed have at most a quarter each, and the windows that are told apart an eighth. Open windows have the rest, less
// a quarter of that: while a window is written, its sorted aggregates and its totals
// for the live view take as much for a moment. Beyond that, windows become coarser,
// the live view leaves out old windows of the finest cells, and a ping without a
// speed whose track is not known does not count as moving.

// roomLeft returns how many bytes open windows may take.
func (r *Rollup) roomLeft() int64 {
	return (r.cfg.MaxBytes - r.view.usage() - r.tracks.bytes()) / 4 * 3
}

// bytes returns how many bytes all parts that grow with the pings take.
func (r *Rollup) bytes() int64 {
	return r.memory.used + r.memory.spare + r.work + r.view.usage() + r.tracks.bytes()
}

// tidy gives up memory that is no longer needed.
func (r *Rollup) tidy() {
	r.view.expire(r.now())
	r.scratch.tidy()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory.tidy()
	r.work = r.scratch.used + r.scratch.spare + size(r.list)
	for res := range r.pass.shown {
		r.work += size(r.pass.shown[res]) + size(r.pass.apart[res])
	}
}

func size[T any](list []T) int64 {
	var one T
	return int64(cap(list)) * int64(unsafe.Sizeof(one))
}

// mostKept is the longest list that is kept to be used again.
const mostKept = 1 << 10

// reuse returns an empty list in the memory of list, or without its memory if
// that is large.
func reuse[T any](list []T) []T {
	if cap(list) > mostKept {
		return nil
	}
	return list[:0]
}
