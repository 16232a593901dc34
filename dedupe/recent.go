package dedupe

import (
	"math"

	"pingline/dedupe/plane"
)

// The recent points of a track are its newest vertices, without a hole between
// the oldest known and the newest: what is forgotten is always the oldest. The
// newest few lie in the track itself, those before in blocks, while there is
// memory for blocks.
const (
	inTrack   = 8
	inBlock   = 20
	maxRecent = 1024
)

// point is a vertex in 12 bytes.
type point struct {
	since uint32 // ms since the track's base
	lat   uint32 // latitude from the south pole, times 2, plus 1 if crowded
	lon   int32
}

// A point is crowded if a ping between it and the vertex before it was dropped:
// the line between the two must stay.
func newPoint(base int64, s plane.Spot, crowded bool) point {
	p := point{since: uint32(s.At - base), lat: uint32(s.Lat+poleE7) << 1, lon: s.Lon}
	if crowded {
		p.lat |= 1
	}
	return p
}

const poleE7 = 90 * 1e7

func (p point) crowded() bool { return p.lat&1 != 0 }

func (p *point) setCrowded() { p.lat |= 1 }

// recent is what a track knows of its vertices.
type recent struct {
	base   int64 // ms since 1970; no point is before it; without points it is the track's floor
	points [inTrack]point
	n      uint8
	whole  bool   // the oldest known vertex is the first there was
	beyond uint16 // points in blocks
	top    uint32 // newest block, 0 if none
}

func (r *recent) spot(p point) plane.Spot {
	return plane.Spot{At: r.base + int64(p.since), Lat: int32(p.lat>>1) - poleE7, Lon: p.lon}
}

// last returns the newest vertex. There must be one.
func (r *recent) last() plane.Spot { return r.spot(r.points[r.n-1]) }

// place names a point: an index into a block, or into the track (block 0).
type place struct {
	block uint32
	i     int
}

func (p *blockPool) point(r *recent, at place) *point {
	if at.block == 0 {
		return &r.points[at.i]
	}
	return &p.at(at.block).points[at.i]
}

// find returns the newest point not after ts, or false if the track's oldest
// known vertex is.
func (p *blockPool) find(r *recent, ts int64) (place, bool) {
	if at, ok := search(r.points[:r.n], r.base, ts); ok {
		return place{0, at}, true
	}
	for k := r.top; k != 0; k = p.at(k).older {
		b := p.at(k)
		if at, ok := search(b.points[:b.n], r.base, ts); ok {
			return place{k, at}, true
		}
	}
	return place{}, false
}

func search(points []point, base, ts int64) (int, bool) {
	if len(points) == 0 || base+int64(points[0].since) > ts {
		return 0, false // all are later: of most blocks only this is looked at
	}
	for i := len(points) - 1; i >= 0; i-- {
		if base+int64(points[i].since) <= ts {
			return i, true
		}
	}
	return 0, false
}

// after returns the point that follows, or false after the newest.
func (p *blockPool) after(r *recent, at place) (place, bool) {
	switch {
	case at.block == 0:
		return place{0, at.i + 1}, at.i+1 < int(r.n)
	case at.i+1 < int(p.at(at.block).n):
		return place{at.block, at.i + 1}, true
	case at.block == r.top:
		return place{}, r.n > 0
	}
	return place{p.at(at.block).newer, 0}, true
}

// add makes s a vertex of track i. One of an instant that has its vertex is left
// out; so is one older than all that are known, unless the oldest of these was the
// first.
func (p *blockPool) add(i uint32, r *recent, s plane.Spot, crowded bool) {
	if r.n == 0 {
		r.base = s.At
	} else if s.At > r.last().At {
		p.rebase(r, s.At)
	} else if at, ok := p.find(r, s.At); !ok {
		p.addOldest(i, r, s, crowded)
		return
	} else if r.spot(*p.point(r, at)).At == s.At {
		return
	} else if at.block != 0 && !(at.block == r.top && at.i == int(p.at(at.block).n)-1) {
		p.insert(i, r, s, crowded)
		return
	}
	pt := newPoint(r.base, s, crowded)
	at := int(r.n)
	for at > 0 && r.points[at-1].since > pt.since {
		at--
	}
	if r.n < inTrack {
		copy(r.points[at+1:], r.points[at:r.n])
		r.points[at] = pt
		r.n++
		return
	}
	oldest := pt
	if at > 0 {
		oldest = r.points[0]
		copy(r.points[:at-1], r.points[1:at])
		r.points[at-1] = pt
	}
	p.push(i, r, oldest)
}

// push moves a point out of the track: it follows the newest in blocks.
func (p *blockPool) push(i uint32, r *recent, pt point) {
	if r.top == 0 || p.at(r.top).n == inBlock {
		k := p.take(i)
		if k == 0 {
			r.whole = false
			return // no memory for blocks at all: the point is forgotten
		}
		p.link(&r.top, k)
	}
	b := p.at(r.top)
	b.points[b.n] = pt
	b.n++
	r.beyond++
	if r.beyond > maxRecent-inTrack {
		p.dropOldest(r)
	}
}

// addOldest puts a vertex before all that are known, of a track whose first vertex
// is among these. Where there is no room it is forgotten, as what is oldest is.
func (p *blockPool) addOldest(i uint32, r *recent, s plane.Spot, crowded bool) {
	if !r.whole || !p.lower(r, s.At) || r.beyond >= maxRecent-inTrack {
		r.whole = false
		return
	}
	pt := newPoint(r.base, s, crowded)
	switch {
	case r.top == 0 && r.n < inTrack:
		copy(r.points[1:], r.points[:r.n])
		r.points[0] = pt
		r.n++
		return
	case r.top == 0:
		p.push(i, r, pt)
		return
	case p.at(p.at(r.top).newer).n == inBlock:
		k := p.take(i)
		if !r.whole { // it was the oldest of this track that had to go
			p.give(k)
			return
		}
		p.linkOldest(r.top, k)
	}
	b := p.at(p.at(r.top).newer)
	copy(b.points[1:], b.points[:b.n])
	b.points[0] = pt
	b.n++
	r.beyond++
}

// linkOldest makes k the oldest block of the chain whose newest is top.
func (p *blockPool) linkOldest(top, k uint32) {
	oldest := p.at(top).newer
	p.at(oldest).older, p.at(k).newer, p.at(top).newer = k, oldest, k
}

// lower makes room for times from ts on, with some to spare, and reports whether
// there is any.
func (p *blockPool) lower(r *recent, ts int64) bool {
	least := r.last().At - math.MaxUint32
	if ts < least {
		return false
	}
	if ts < r.base {
		p.shift(r, max(ts-1<<22, least))
	}
	return true
}

// insert puts a vertex among those in blocks.
func (p *blockPool) insert(i uint32, r *recent, s plane.Spot, crowded bool) {
	at, _ := p.find(r, s.At)
	if p.at(at.block).n == inBlock {
		k := p.take(i) // may have forgotten the oldest of this track
		if at, _ = p.find(r, s.At); at.block == 0 {
			p.give(k)
			return
		}
		p.split(r, at.block, k)
		at, _ = p.find(r, s.At)
	}
	b := p.at(at.block)
	copy(b.points[at.i+2:], b.points[at.i+1:b.n])
	b.points[at.i+1] = newPoint(r.base, s, crowded)
	b.n++
	r.beyond++
	if r.beyond > maxRecent-inTrack {
		p.dropOldest(r)
	}
}

// split moves the newer half of block k to the empty block fresh.
func (p *blockPool) split(r *recent, k, fresh uint32) {
	b, nb := p.at(k), p.at(fresh)
	nb.n = uint8(copy(nb.points[:], b.points[inBlock/2:b.n]))
	b.n = inBlock / 2
	nb.older, nb.newer = k, b.newer
	if k == r.top {
		r.top = fresh // whose newer is the oldest block
	} else {
		p.at(b.newer).older = fresh
	}
	b.newer = fresh
}

// dropOldest forgets the oldest block's points.
func (p *blockPool) dropOldest(r *recent) {
	k := p.unlinkOldest(&r.top)
	r.beyond -= uint16(p.at(k).n)
	r.whole = false
	p.give(k)
}

// clear forgets all vertices.
func (p *blockPool) clear(r *recent) {
	for r.top != 0 {
		p.dropOldest(r)
	}
	r.n, r.whole = 0, false
}

// inOrder reports whether each point is later than the one before.
func (p *blockPool) inOrder(r *recent) bool {
	later := uint64(1 << 32)
	check := func(points []point) bool {
		for i := len(points) - 1; i >= 0; i-- {
			if uint64(points[i].since) >= later {
				return false
			}
			later = uint64(points[i].since)
		}
		return true
	}
	if !check(r.points[:r.n]) {
		return false
	}
	for k := r.top; k != 0; k = p.at(k).older {
		if b := p.at(k); !check(b.points[:b.n]) {
			return false
		}
	}
	return true
}

// rebase makes room for times up to ts: points more than 49 days before it are
// forgotten.
func (p *blockPool) rebase(r *recent, ts int64) {
	if ts-r.base <= math.MaxUint32 {
		return
	}
	cut := ts - math.MaxUint32
	for r.top != 0 && r.base+int64(p.at(p.at(r.top).newer).points[0].since) < cut {
		p.dropOldest(r)
	}
	gone := uint8(0)
	for gone < r.n && r.base+int64(r.points[gone].since) < cut {
		gone++
	}
	if gone > 0 {
		for r.top != 0 {
			p.dropOldest(r)
		}
		r.n, r.whole = uint8(copy(r.points[:], r.points[gone:r.n])), false
	}
	base := ts
	if r.top != 0 {
		base = r.base + int64(p.at(p.at(r.top).newer).points[0].since)
	} else if r.n > 0 {
		base = r.base + int64(r.points[0].since)
	}
	p.shift(r, base)
}

// shift changes the base.
func (p *blockPool) shift(r *recent, base int64) {
	by := uint32(base - r.base) // what is below zero wraps, and wraps back
	r.base = base
	for k := range r.n {
		r.points[k].since -= by
	}
	for k := r.top; k != 0; k = p.at(k).older {
		b := p.at(k)
		for i := range b.n {
			b.points[i].since -= by
		}
	}
}
