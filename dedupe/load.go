package dedupe

import (
	"cmp"
	"slices"
)

// endLoad puts the tracks in order, and forgets the tracks that had been forgotten when
// the last piece was taken: the longest silent tracks of each list, unless they hold a
// ping.
func (f *Filter) endLoad() {
	if f.loading == nil {
		return
	}
	l := f.loading
	f.loading = nil
	tracks := make([]uint32, 0, f.riders)
	for i := uint32(1); i <= f.tracks.Last; i++ {
		if f.tracks.At(i).used {
			tracks = append(tracks, i)
		}
	}
	slices.SortFunc(tracks, func(a, b uint32) int { return cmp.Compare(f.order.At(a).stamp, f.order.At(b).stamp) })
	for _, i := range tracks {
		f.order.push(f.listOf(i), i)
	}
	f.trimDevices()
	f.shorten(&f.order.once, l.once)
	f.shorten(&f.order.often, l.often)
	for f.riders > f.cfg.MaxRiders && !f.holds(f.victim()) {
		f.forget(f.victim())
	}
}

// shorten forgets the longest silent tracks of a list until n are left; none if n is
// negative.
func (f *Filter) shorten(l *list, n int) {
	for n >= 0 && l.n > n && !f.holds(l.oldest) {
		f.forget(l.oldest)
	}
}
