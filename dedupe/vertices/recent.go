package vertices

import (
	"math"

	"pingline/dedupe/plane"
)

// The recent points of a track are its newest vertices, without a hole, because the
// oldest is always forgotten first. The newest few are in the track itself, older points
// in blocks, while there is memory for blocks.
const (
	inTrack = 8    // most points in the track itself
	InBlock = 20   // most points in a block
	Most    = 1024 // most points of a track
)

// Packed is a vertex in 12 bytes.
type Packed struct {
	Since uint32 // ms since the track's base
	Lat   uint32 // latitude from the south pole, times 2, plus 1 if crowded
	Lon   int32
}

// A point is crowded if a ping between it and the vertex before it was dropped. Then
// no vertex may be put between the two, because it would move the line.
func newPoint(base int64, s plane.Spot, crowded bool) Packed {
	p := Packed{Since: uint32(s.At - base), Lat: uint32(s.Lat+poleE7) << 1, Lon: s.Lon}
	if crowded {
		p.Lat |= 1
	}
	return p
}

const poleE7 = 90 * 1e7

// Crowded reports whether a ping between the vertex before and this one was dropped.
func (p Packed) Crowded() bool { return p.Lat&1 != 0 }

// SetCrowded notes that a ping between the vertex before and this one was dropped.
func (p *Packed) SetCrowded() { p.Lat |= 1 }

// Recent has the known vertices of a track.
type Recent struct {
	Base   int64 // ms since 1970; no point is before it; without points it is the track's floor
	Points [inTrack]Packed
	N      uint8
	Whole  bool   // the oldest known vertex is the first of the track
	Beyond uint16 // points in blocks
	Top    uint32 // newest block, 0 if none
}

// Spot unpacks a vertex.
func (r *Recent) Spot(p Packed) plane.Spot {
	return plane.Spot{At: r.Base + int64(p.Since), Lat: int32(p.Lat>>1) - poleE7, Lon: p.Lon}
}

// Last returns the newest vertex. There must be one.
func (r *Recent) Last() plane.Spot { return r.Spot(r.Points[r.N-1]) }

// Ref names a point: an index into a block, or into the track (block 0).
type Ref struct {
	block uint32
	i     int
}

// Vertex returns the point that at names.
func (p *Pool) Vertex(r *Recent, at Ref) *Packed {
	if at.block == 0 {
		return &r.Points[at.i]
	}
	return &p.At(at.block).points[at.i]
}

// Find returns the newest point not after ts, or false if all known vertices are after
// ts.
func (p *Pool) Find(r *Recent, ts int64) (Ref, bool) {
	if at, ok := search(r.Points[:r.N], r.Base, ts); ok {
		return Ref{0, at}, true
	}
	for k := r.Top; k != 0; k = p.At(k).older {
		b := p.At(k)
		if at, ok := search(b.points[:b.n], r.Base, ts); ok {
			return Ref{k, at}, true
		}
	}
	return Ref{}, false
}

func search(points []Packed, base, ts int64) (int, bool) {
	if len(points) == 0 || base+int64(points[0].Since) > ts {
		return 0, false // all points are later: for most blocks the search ends here
	}
	for i := len(points) - 1; i >= 0; i-- {
		if base+int64(points[i].Since) <= ts {
			return i, true
		}
	}
	return 0, false
}

// Oldest returns the oldest vertex known. There must be one.
func (p *Pool) Oldest(r *Recent) Ref {
	if r.Top == 0 {
		return Ref{}
	}
	return Ref{block: p.At(r.Top).newer}
}

// After returns the point that follows, or false after the newest.
func (p *Pool) After(r *Recent, at Ref) (Ref, bool) {
	switch {
	case at.block == 0:
		return Ref{0, at.i + 1}, at.i+1 < int(r.N)
	case at.i+1 < int(p.At(at.block).n):
		return Ref{at.block, at.i + 1}, true
	case at.block == r.Top:
		return Ref{}, r.N > 0
	}
	return Ref{p.At(at.block).newer, 0}, true
}

// Between calls visit with the vertices of from <= ts < to in order of time, but at most
// with the first most of them.
func (p *Pool) Between(r *Recent, from, to int64, most int, visit func(plane.Spot)) {
	if r.N == 0 {
		return
	}
	at, ok := p.Find(r, from)
	if !ok {
		at, ok = p.Oldest(r), true
	}
	for n := 0; ok && n < most; at, ok = p.After(r, at) {
		s := r.Spot(*p.Vertex(r, at))
		if s.At >= to {
			return
		}
		if s.At >= from {
			visit(s)
			n++
		}
	}
}

// Add makes s a vertex of track i. It leaves s out if its instant has a vertex, or if s
// is older than all known vertices and r.Whole is false.
func (p *Pool) Add(i uint32, r *Recent, s plane.Spot, crowded bool) {
	if r.N == 0 {
		r.Base = s.At
	} else if s.At > r.Last().At {
		p.rebase(r, s.At)
	} else if at, ok := p.Find(r, s.At); !ok {
		p.addOldest(i, r, s, crowded)
		return
	} else if r.Spot(*p.Vertex(r, at)).At == s.At {
		return
	} else if at.block != 0 && !(at.block == r.Top && at.i == int(p.At(at.block).n)-1) {
		p.insert(i, r, s, crowded)
		return
	}
	pt := newPoint(r.Base, s, crowded)
	at := int(r.N)
	for at > 0 && r.Points[at-1].Since > pt.Since {
		at--
	}
	if r.N < inTrack {
		copy(r.Points[at+1:], r.Points[at:r.N])
		r.Points[at] = pt
		r.N++
		return
	}
	oldest := pt
	if at > 0 {
		oldest = r.Points[0]
		copy(r.Points[:at-1], r.Points[1:at])
		r.Points[at-1] = pt
	}
	p.push(i, r, oldest)
}

// push moves a point out of the track, behind the newest point in blocks.
func (p *Pool) push(i uint32, r *Recent, pt Packed) {
	if r.Top == 0 || p.At(r.Top).n == InBlock {
		k := p.take(i)
		if k == 0 {
			r.Whole = false
			return // no memory for blocks at all: the point is forgotten
		}
		p.link(&r.Top, k)
	}
	b := p.At(r.Top)
	b.points[b.n] = pt
	b.n++
	r.Beyond++
	if r.Beyond > Most-inTrack {
		p.dropOldest(r)
	}
}

// addOldest puts a vertex before all known vertices, if r.Whole is true. Without room s
// is forgotten, because it is the oldest.
func (p *Pool) addOldest(i uint32, r *Recent, s plane.Spot, crowded bool) {
	if !r.Whole || !p.lower(r, s.At) || r.Beyond >= Most-inTrack {
		r.Whole = false
		return
	}
	pt := newPoint(r.Base, s, crowded)
	switch {
	case r.Top == 0 && r.N < inTrack:
		copy(r.Points[1:], r.Points[:r.N])
		r.Points[0] = pt
		r.N++
		return
	case r.Top == 0:
		p.push(i, r, pt)
		return
	case p.At(p.At(r.Top).newer).n == InBlock:
		k := p.take(i)
		if !r.Whole { // take made room by forgetting this track's oldest block
			p.give(k)
			return
		}
		p.linkOldest(r.Top, k)
	}
	b := p.At(p.At(r.Top).newer)
	copy(b.points[1:], b.points[:b.n])
	b.points[0] = pt
	b.n++
	r.Beyond++
}

// linkOldest makes k the oldest block of the chain whose newest is top.
func (p *Pool) linkOldest(top, k uint32) {
	oldest := p.At(top).newer
	p.At(oldest).older, p.At(k).newer, p.At(top).newer = k, oldest, k
}

// lower sets the base so that times from ts on fit, with some to spare. It returns false
// if they do not.
func (p *Pool) lower(r *Recent, ts int64) bool {
	least := r.Last().At - math.MaxUint32
	if ts < least {
		return false
	}
	if ts < r.Base {
		p.shift(r, max(ts-1<<22, least))
	}
	return true
}

// insert puts a vertex between the vertices in blocks.
func (p *Pool) insert(i uint32, r *Recent, s plane.Spot, crowded bool) {
	at, _ := p.Find(r, s.At)
	if p.At(at.block).n == InBlock {
		k := p.take(i) // may have forgotten the oldest of this track
		if at, _ = p.Find(r, s.At); at.block == 0 {
			p.give(k)
			return
		}
		p.split(r, at.block, k)
		at, _ = p.Find(r, s.At)
	}
	b := p.At(at.block)
	copy(b.points[at.i+2:], b.points[at.i+1:b.n])
	b.points[at.i+1] = newPoint(r.Base, s, crowded)
	b.n++
	r.Beyond++
	if r.Beyond > Most-inTrack {
		p.dropOldest(r)
	}
}

// split moves the newer half of block k to the empty block fresh.
func (p *Pool) split(r *Recent, k, fresh uint32) {
	b, nb := p.At(k), p.At(fresh)
	nb.n = uint8(copy(nb.points[:], b.points[InBlock/2:b.n]))
	b.n = InBlock / 2
	nb.older, nb.newer = k, b.newer
	if k == r.Top {
		r.Top = fresh // fresh.newer is the oldest block
	} else {
		p.At(b.newer).older = fresh
	}
	b.newer = fresh
}

// dropOldest forgets the oldest block's points.
func (p *Pool) dropOldest(r *Recent) {
	k := p.unlinkOldest(&r.Top)
	r.Beyond -= uint16(p.At(k).n)
	r.Whole = false
	p.give(k)
}

// Clear forgets all vertices.
func (p *Pool) Clear(r *Recent) {
	for r.Top != 0 {
		p.dropOldest(r)
	}
	r.N, r.Whole = 0, false
}

// InOrder reports whether each point is later than the one before.
func (p *Pool) InOrder(r *Recent) bool {
	later := uint64(1 << 32)
	check := func(points []Packed) bool {
		for i := len(points) - 1; i >= 0; i-- {
			if uint64(points[i].Since) >= later {
				return false
			}
			later = uint64(points[i].Since)
		}
		return true
	}
	if !check(r.Points[:r.N]) {
		return false
	}
	for k := r.Top; k != 0; k = p.At(k).older {
		if b := p.At(k); !check(b.points[:b.n]) {
			return false
		}
	}
	return true
}

// rebase sets the base so that times up to ts fit. It forgets points more than 49 days
// before ts.
func (p *Pool) rebase(r *Recent, ts int64) {
	if ts-r.Base <= math.MaxUint32 {
		return
	}
	cut := ts - math.MaxUint32
	for r.Top != 0 && r.Base+int64(p.At(p.At(r.Top).newer).points[0].Since) < cut {
		p.dropOldest(r)
	}
	gone := uint8(0)
	for gone < r.N && r.Base+int64(r.Points[gone].Since) < cut {
		gone++
	}
	if gone > 0 {
		for r.Top != 0 {
			p.dropOldest(r)
		}
		r.N, r.Whole = uint8(copy(r.Points[:], r.Points[gone:r.N])), false
	}
	base := ts
	if r.Top != 0 {
		base = r.Base + int64(p.At(p.At(r.Top).newer).points[0].Since)
	} else if r.N > 0 {
		base = r.Base + int64(r.Points[0].Since)
	}
	p.shift(r, base)
}

// shift changes the base; every point keeps its time.
func (p *Pool) shift(r *Recent, base int64) {
	by := uint32(base - r.Base) // a negative difference wraps round, and the subtraction wraps back
	r.Base = base
	for k := range r.N {
		r.Points[k].Since -= by
	}
	for k := r.Top; k != 0; k = p.At(k).older {
		b := p.At(k)
		for i := range b.n {
			b.points[i].Since -= by
		}
	}
}
