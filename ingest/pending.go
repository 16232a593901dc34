package ingest

import (
	"math"
	"sort"

	"pingline"
)

// pending knows how far back what is yet to be stored will change what readers
// see: from each commit on, the earliest time at which it or a later one does. A
// commit with an earlier one takes the place of those before it, and of times
// within width one stands for all.
//
// There are at most maxSteps. When they are reached the width doubles, until
// half of them are left: neighbours become one, with the earlier time and the
// later number, which may tell too early a time, never too late a one. The width
// shrinks again when little is left. A commit costs constant time on average.
type pending struct {
	from  uint64 // what is in commits before it is not known
	width int64  // ms; every time is a multiple of it, or was when it was noted
	steps []step // in order of number and of time
}

// step says that this commit and those behind it change nothing before this time,
// ms.
type step struct {
	number uint64
	at     int64
}

const (
	pendingStep = 100     // ms, the least width
	maxSteps    = 1 << 14 // 256 KiB
)

// reset forgets all; commits from number next on will be told.
func (p *pending) reset(next uint64) {
	*p = pending{from: next, width: pendingStep, steps: p.steps[:0]}
}

// add takes note of a commit, behind all others, that changes nothing before time
// at; the largest int64 says that it stores nothing.
func (p *pending) add(number uint64, at int64) {
	if at == math.MaxInt64 {
		return
	}
	p.push(number, at)
	if len(p.steps) >= maxSteps {
		p.widen()
	}
}

func (p *pending) push(number uint64, at int64) {
	p.width = max(p.width, pendingStep)
	at = max(at, math.MinInt64+p.width)
	at -= (at%p.width + p.width) % p.width
	n := len(p.steps)
	for n > 0 && p.steps[n-1].at >= at {
		n--
	}
	p.steps = append(p.steps[:n], step{number, at})
}

// widen doubles the width until half of maxSteps are left. One time far from the
// others does not make them coarser.
func (p *pending) widen() {
	for len(p.steps) > maxSteps/2 {
		p.width *= 2
		all := p.steps
		p.steps = all[:0]
		for _, s := range all {
			p.push(s.number, s.at)
		}
	}
}

// passed forgets the commits before number next.
func (p *pending) passed(next uint64) {
	p.steps = p.steps[p.find(next):]
	if len(p.steps) < maxSteps/8 {
		p.width = max(p.width/2, pendingStep)
	}
	p.from = max(p.from, next)
}

// before returns the time, ms, before which commit next and those behind it change
// nothing; the largest int64 if they store nothing, the smallest if that is not
// known.
func (p *pending) before(next uint64) int64 {
	if next < p.from {
		return math.MinInt64
	}
	if i := p.find(next); i < len(p.steps) {
		return p.steps[i].at
	}
	return math.MaxInt64
}

func (p *pending) find(next uint64) int {
	return sort.Search(len(p.steps), func(i int) bool { return p.steps[i].number >= next })
}

// storedAt returns the time of a row, ms; one whose time cannot be read may be of
// any.
func storedAt(e *pingline.Entry) int64 {
	at, ok := e.StoredAt()
	if !ok {
		return math.MinInt64
	}
	return at
}
