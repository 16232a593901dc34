package dedupe

import "pingline/dedupe/plane"

// blockBytes is the size of a block in memory.
const blockBytes = 256

// block is a piece of what is remembered of a track beyond what the track
// itself has room for: older vertices, or marks. A track's blocks of one sort
// form a chain from the newest to the oldest.
type block struct {
	points [inBlock]point
	older  uint32 // 0 in the oldest
	newer  uint32 // in the newest: the oldest
	owner  uint32 // track
	n      uint8
	marks  bool
}

// blockPool has a limited number of blocks. When none is left, the track whose
// block was handed out longest ago gives up its oldest: what came first is
// forgotten first.
type blockPool struct {
	slab[block]
	limit  uint32
	free   uint32 // chain by older
	hand   uint32 // the block handed out longest ago is about here
	tracks *slab[track]
}

// take returns an empty block for the track, or 0 if there is no memory for
// blocks at all. It may forget the oldest points or marks of any track.
func (p *blockPool) take(owner uint32) uint32 {
	if p.limit == 0 {
		return 0
	}
	if p.free == 0 && p.slab.last < p.limit {
		k := p.grow()
		p.at(k).owner = owner
		return k
	}
	if p.free == 0 {
		p.hand = p.hand%p.slab.last + 1
		victim := p.at(p.hand)
		t := p.tracks.at(victim.owner)
		if victim.marks {
			p.give(p.unlinkOldest(&t.marks))
		} else {
			p.dropOldest(&t.recent)
		}
	}
	k := p.free
	b := p.at(k)
	p.free = b.older
	*b = block{owner: owner}
	return k
}

// give takes a block back that is in no chain.
func (p *blockPool) give(k uint32) {
	p.at(k).older = p.free
	p.free = k
}

// link makes k the newest block of the chain that starts at top.
func (p *blockPool) link(top *uint32, k uint32) {
	b := p.at(k)
	if b.older = *top; *top == 0 {
		b.newer = k
	} else {
		b.newer = p.at(*top).newer
		p.at(*top).newer = k
	}
	*top = k
}

// unlinkOldest takes the oldest block out of the chain that starts at top.
func (p *blockPool) unlinkOldest(top *uint32) uint32 {
	k := p.at(*top).newer
	if k == *top {
		*top = 0
		return k
	}
	second := p.at(k).newer
	p.at(second).older = 0
	p.at(*top).newer = second
	return k
}

// A mark remembers a stored ping with an event, which the recent points do not
// tell: a fingerprint of its instant, position and event, kept like a point, up
// to maxRecent of them, late ones included.
type mark uint64

// newMark is the same in every process: marks are part of the state.
func newMark(s plane.Spot, event string) mark {
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
	return mark(h)
}

// remember adds a mark to the track.
func (p *blockPool) remember(i uint32, m mark) {
	top := &p.tracks.at(i).marks
	if *top == 0 || p.at(*top).n == inBlock {
		p.trimMarks(top)
		k := p.take(i)
		if k == 0 {
			return
		}
		p.at(k).marks = true
		p.link(top, k)
	}
	b := p.at(*top)
	b.points[b.n] = point{since: uint32(m >> 32), lat: uint32(m)}
	b.n++
}

// trimMarks forgets the oldest marks if a track has as many as it may.
func (p *blockPool) trimMarks(top *uint32) {
	blocks := 0
	for k := *top; k != 0; k = p.at(k).older {
		blocks++
	}
	if blocks >= maxRecent/inBlock {
		p.give(p.unlinkOldest(top))
	}
}

// clearMarks forgets all marks.
func (p *blockPool) clearMarks(top *uint32) {
	for *top != 0 {
		p.give(p.unlinkOldest(top))
	}
}

// remembers reports whether the track has the mark.
func (p *blockPool) remembers(t *track, m mark) bool {
	for k := t.marks; k != 0; k = p.at(k).older {
		b := p.at(k)
		for _, pt := range b.points[:b.n] {
			if pt.since == uint32(m>>32) && pt.lat == uint32(m) {
				return true
			}
		}
	}
	return false
}
