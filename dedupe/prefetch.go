package dedupe

import (
	"math"

	"pingline"
)

// Prefetch tells the filter which pings are judged next; it looks at the first
// Ahead of them. It changes only the speed: with many riders most time is spent
// waiting for memory, and Prefetch waits for all pings at once, where Judge waits for
// each in turn.
func (f *Filter) Prefetch(pings []pingline.Ping) {
	f.PrefetchFunc(len(pings), func(i int) *pingline.Ping { return &pings[i] })
}

// PrefetchFunc is Prefetch for n pings that a function returns.
func (f *Filter) PrefetchFunc(n int, ping func(i int) *pingline.Ping) {
	a := &f.ahead
	a.next, a.n = 0, 0
	if len(f.index) < a.least {
		return
	}
	a.n = min(n, Ahead)
	mask := uint32(len(f.index) - 1)
	var hashes [Ahead]uint32
	for i := range a.n {
		p := ping(i)
		hashes[i] = f.hash(p.Rider, p.Device)
	}
	// Each pass reads the memory that the pass before has found. No pass has a branch
	// that depends on a value it waits for, so that the reads overlap.
	touched := uint32(0)
	for _, hash := range hashes[:a.n] {
		touched += uint32(f.index[hash&mask])
	}
	for i, hash := range hashes[:a.n] {
		a.tracks[i] = f.index.Guess(hash)
	}
	for _, i := range a.tracks[:a.n] {
		t := f.tracks.At(i) // a value of each of its cache lines
		touched += math.Float32bits(t.poly.Below[0]) + uint32(t.fix.At) + t.Points[0].Since + t.Points[5].Since + t.hash
		touched += uint32(len(f.names.At(i).key)) + f.order.At(i).newer
	}
	for _, i := range a.tracks[:a.n] {
		n, o := f.names.At(i), f.order.At(i)
		touched += f.order.At(o.newer).older + f.order.At(o.older).newer
		if n.key != "" {
			touched += uint32(n.key[0])
		}
		if n.trip != "" {
			touched += uint32(n.trip[0])
		}
	}
	a.touched += touched
}
