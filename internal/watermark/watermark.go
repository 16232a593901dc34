// Package watermark tells the time before which no commit changes the stored points any more.
package watermark

import (
	"math"
	"sort"
)

// Earliest tells the time before which no commit changes the stored points any
// more. There is a step for each commit: the earliest time that the commit or a
// later one changes. A commit with an earlier time replaces the steps before it, and
// times within width share a step.
//
// There are at most maxSteps steps. At the limit the width doubles until half of the
// steps are left: neighbours are merged, with the earlier time and the later number.
// Therefore the watermark can be too early, but never too late. The width shrinks again
// when few steps are left. A commit costs constant time on average.
type Earliest struct {
	from  uint64 // commits before this number are not known
	width int64  // ms; every time is a multiple of the width at which it was noted
	steps []step // in order of number and of time
}

// step says that commit number and all later commits change nothing before the time at,
// ms.
type step struct {
	number uint64
	at     int64
}

const (
	leastWidth = 100     // ms, the least width
	maxSteps   = 1 << 14 // 256 KiB
)

// Reset forgets all steps; commits from number next on will be added.
func (p *Earliest) Reset(next uint64) {
	*p = Earliest{from: next, width: leastWidth, steps: p.steps[:0]}
}

// Add notes the newest commit, which changes nothing before the time at; the largest
// int64 says that it stores nothing.
func (p *Earliest) Add(number uint64, at int64) {
	if at == math.MaxInt64 {
		return
	}
	p.push(number, at)
	if len(p.steps) >= maxSteps {
		p.widen()
	}
}

func (p *Earliest) push(number uint64, at int64) {
	p.width = max(p.width, leastWidth)
	at = max(at, math.MinInt64+p.width)
	at -= (at%p.width + p.width) % p.width
	n := len(p.steps)
	for n > 0 && p.steps[n-1].at >= at {
		n--
	}
	p.steps = append(p.steps[:n], step{number, at})
}

// widen doubles the width until at most half of maxSteps are left. A single time far
// from the rest does not make the rest coarser.
func (p *Earliest) widen() {
	for len(p.steps) > maxSteps/2 {
		p.width *= 2
		all := p.steps
		p.steps = all[:0]
		for _, s := range all {
			p.push(s.number, s.at)
		}
	}
}

// Advance forgets the commits before number behind, or those before next if there are many:
// a store that is away for long makes the steps for others no coarser.
func (p *Earliest) Advance(next, behind uint64) {
	if len(p.steps) < maxSteps/2 {
		next = min(next, behind)
	}
	p.steps = p.steps[p.find(next):]
	if len(p.steps) < maxSteps/8 {
		p.width = max(p.width/2, leastWidth)
	}
	p.from = max(p.from, next)
}

// At returns the time, ms, before which commit next and all later commits change
// nothing; the largest int64 if they store nothing, the smallest if it is not known.
func (p *Earliest) At(next uint64) int64 {
	if next < p.from {
		return math.MinInt64
	}
	if i := p.find(next); i < len(p.steps) {
		return p.steps[i].at
	}
	return math.MaxInt64
}

func (p *Earliest) find(next uint64) int {
	return sort.Search(len(p.steps), func(i int) bool { return p.steps[i].number >= next })
}
