// Package vertices remembers the newest stored pings of tracks in little memory, 12
// bytes each: the vertices that readers draw lines between, and fingerprints of
// others.
//
// Of a track as many are remembered as fit into the track itself, and up to Most while
// there is memory for blocks. What is forgotten is always a track's oldest. It is for
// one goroutine.
package vertices

import (
	"math"

	"pingline/dedupe/plane"
	"pingline/dedupe/slab"
)

// BlockBytes is the size of a block in memory.
const BlockBytes = 256

// block is a piece of what is remembered of a track beyond what the track
// itself has room for: older vertices, or marks. A track's blocks of one sort
// form a chain from the newest to the oldest.
type block struct {
	points [InBlock]Packed
	older  uint32 // 0 in the oldest
	newer  uint32 // in the newest: the oldest
	owner  uint32 // track
	n      uint8
	marks  bool
}

// Pool has the blocks of all tracks, a limited number. When none is left, the track whose
// block was handed out longest ago gives up its oldest: what came first is
// forgotten first.
type Pool struct {
	slab.Slab[block]
	limit uint32
	free  uint32 // chain by older
	hand  uint32 // the block handed out longest ago is about here
	of    func(owner uint32) (recent *Recent, marks *uint32)
}

// NewPool returns a pool of so many bytes. Of returns what is remembered of a track:
// its vertices, and the newest block of its marks.
func NewPool(bytes int, of func(owner uint32) (recent *Recent, marks *uint32)) Pool {
	return Pool{limit: uint32(min(bytes/BlockBytes, math.MaxInt32)), of: of}
}

// take returns an empty block for the track, or 0 if there is no memory for
// blocks at all. It may forget the oldest points or marks of any track.
func (p *Pool) take(owner uint32) uint32 {
	if p.limit == 0 {
		return 0
	}
	if p.free == 0 && p.Slab.Last < p.limit {
		k := p.Grow()
		p.At(k).owner = owner
		return k
	}
	if p.free == 0 {
		p.hand = p.hand%p.Slab.Last + 1
		victim := p.At(p.hand)
		recent, marks := p.of(victim.owner)
		if victim.marks {
			p.give(p.unlinkOldest(marks))
		} else {
			p.dropOldest(recent)
		}
	}
	k := p.free
	b := p.At(k)
	p.free = b.older
	*b = block{owner: owner}
	return k
}

// give takes a block back that is in no chain.
func (p *Pool) give(k uint32) {
	p.At(k).older = p.free
	p.free = k
}

// link makes k the newest block of the chain that starts at top.
func (p *Pool) link(top *uint32, k uint32) {
	b := p.At(k)
	if b.older = *top; *top == 0 {
		b.newer = k
	} else {
		b.newer = p.At(*top).newer
		p.At(*top).newer = k
	}
	*top = k
}

// unlinkOldest takes the oldest block out of the chain that starts at top.
func (p *Pool) unlinkOldest(top *uint32) uint32 {
	k := p.At(*top).newer
	if k == *top {
		*top = 0
		return k
	}
	second := p.At(k).newer
	p.At(second).older = 0
	p.At(*top).newer = second
	return k
}

// Fingerprint is a mark: it remembers a stored ping with an event, which the recent points do not
// tell, by a hash of its instant, position and event. It is kept like a point, up
// to Most of them, late ones included.
type Fingerprint uint64

// NewMark returns the mark of a ping. It is the same in every process: marks are part of the state.
func NewMark(s plane.Spot, event string) Fingerprint {
	const prime = 0x100000001b3
	h := uint64(0xcbf29ce484222325)
	for i := range len(event) {
		h = (h ^ uint64(event[i])) * prime
	}
	for _, v := range [...]uint64{uint64(s.At), uint64(uint32(s.Lat))<<32 | uint64(uint32(s.Lon))} {
		h ^= v
		h ^= h >> 32
		h *= 0xd6e8feb86659fd93
		h ^= h >> 32
		h *= 0xd6e8feb86659fd93
	}
	return Fingerprint(h)
}

// Remember adds a mark to track i.
func (p *Pool) Remember(i uint32, m Fingerprint) {
	_, top := p.of(i)
	if *top == 0 || p.At(*top).n == InBlock {
		p.trimMarks(top)
		k := p.take(i)
		if k == 0 {
			return
		}
		p.At(k).marks = true
		p.link(top, k)
	}
	b := p.At(*top)
	b.points[b.n] = Packed{Since: uint32(m >> 32), Lat: uint32(m)}
	b.n++
}

// trimMarks forgets the oldest marks if a track has as many as it may.
func (p *Pool) trimMarks(top *uint32) {
	blocks := 0
	for k := *top; k != 0; k = p.At(k).older {
		blocks++
	}
	if blocks >= Most/InBlock {
		p.give(p.unlinkOldest(top))
	}
}

// ClearMarks forgets all marks of the chain that starts at top.
func (p *Pool) ClearMarks(top *uint32) {
	for *top != 0 {
		p.give(p.unlinkOldest(top))
	}
}

// Remembers reports whether the mark is in the chain that starts at top.
func (p *Pool) Remembers(top uint32, m Fingerprint) bool {
	for k := top; k != 0; k = p.At(k).older {
		b := p.At(k)
		for _, pt := range b.points[:b.n] {
			if pt.Since == uint32(m>>32) && pt.Lat == uint32(m) {
				return true
			}
		}
	}
	return false
}
