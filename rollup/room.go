package rollup

import "unsafe"

// All parts that grow with the pings take MaxBytes together. The live view and the
// tracks without speed have a quarter of them each at most, and windows the rest,
// but for a quarter of it: a window that is written takes as much for a moment,
// for its aggregates in order and for the totals to be shown. Beyond, windows become
// coarser, the live view leaves out old windows of the finest cells, and pings of
// a track that is not known move only if they say so.

// roomLeft returns how many bytes open windows may take.
func (r *Rollup) roomLeft() int64 {
	return (r.cfg.MaxBytes - r.view.usage() - r.tracks.bytes()) / 4 * 3
}

// bytes returns how many all takes that grows with the pings.
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
	for _, list := range r.pass.shown {
		r.work += size(list)
	}
}

func size[T any](list []T) int64 {
	var one T
	return int64(cap(list)) * int64(unsafe.Sizeof(one))
}

// mostKept is the longest list that is kept to be used again.
const mostKept = 1 << 10

// reuse returns an empty list in the memory of list, or without if that is much.
func reuse[T any](list []T) []T {
	if cap(list) > mostKept {
		return nil
	}
	return list[:0]
}
