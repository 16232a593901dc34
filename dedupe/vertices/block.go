// Package vertices remembers the newest stored pings of tracks in little memory, 12
// bytes each: the vertices, through which readers draw the line, and fingerprints of
// stored pings with an event.
//
// A track itself has room for a few vertices, and while there is memory for blocks up
// to Most are remembered. Of a track the oldest are always forgotten first. The package
// is for a single goroutine.
package vertices

import (
	"math"

	"pingline/dedupe/plane"
	"pingline/dedupe/slab"
)

// BlockBytes is the size of a block in memory.
const BlockBytes = 256

// block holds older vertices of a track, for which the track itself has no room, or
// marks. A track's blocks of vertices form a chain from the newest to the oldest, and
// so do its blocks of marks.
type block struct {
	points [InBlock]Packed
	older  uint32 // 0 in the oldest
	newer  uint32 // in the newest block: the oldest block
	owner  uint32 // track of the block
	n      uint8
	marks  bool
}

// Pool has the blocks of all tracks, a limited number. When no block is left, the track
// whose block was handed out longest ago gives up its oldest block.
type Pool struct {
	slab.Slab[block]
	limit uint32
	free  uint32 // chain by older
	hand  uint32 // number of about the block handed out longest ago
	of    func(owner uint32) (recent *Recent, marks *uint32)
}

// NewPool returns a pool of so many bytes. Of returns a track's vertices, and the number
// of the newest block of its marks.
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

// give returns a block that is in no chain to the pool.
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

// Fingerprint is a mark: a hash of the instant, position and event of a stored ping,
// late or not, because a vertex does not tell the event. Up to Most marks of a track
// are kept, in blocks like vertices.
type Fingerprint uint64

// NewMark returns the mark of a ping. It is the same in every process, because marks are
// part of the state in checkpoints.
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

// trimMarks forgets the oldest marks if a track has as many as it may have.
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
