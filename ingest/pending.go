package ingest

import (
	"math"
	"sort"
	"strconv"
	"strings"

	"pingline"
)

// pending knows how old the pings are that readers of the log have yet to store:
// from each commit on, the oldest ts to be stored in it or in a later one. A
// commit with an older one takes the place of those before it, and of times
// within a step one stands for all, so that an hour of outage is at most 36,000
// small steps.
type pending struct {
	from  uint64 // what is in commits before it is not known
	steps []step // in order of number and of time
}

// step says that the oldest ping to be stored in this commit or a later one is
// of this time, ms.
type step struct {
	number uint64
	at     int64
}

const pendingStep = 100 // ms

// reset forgets all; commits from number next on will be told.
func (p *pending) reset(next uint64) { *p = pending{from: next, steps: p.steps[:0]} }

// add takes note of a commit, behind all others, whose oldest ping to be stored
// is of time at; the largest int64 says that there is none.
func (p *pending) add(number uint64, at int64) {
	if at == math.MaxInt64 {
		return
	}
	at -= (at%pendingStep + pendingStep) % pendingStep
	n := len(p.steps)
	for n > 0 && p.steps[n-1].at >= at {
		n--
	}
	p.steps = append(p.steps[:n], step{number, at})
}

// passed forgets the commits before number next.
func (p *pending) passed(next uint64) {
	i := p.find(next)
	p.steps = append(p.steps[:0], p.steps[i:]...)
	p.from = max(p.from, next)
}

// oldest returns the oldest ts, ms, to be stored in commit next or a later one;
// the largest int64 if there is none, the smallest if that is not known.
func (p *pending) oldest(next uint64) int64 {
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

// storedAt returns the ts of an entry that is to be stored. A line whose time
// cannot be read may be of any.
func storedAt(e *pingline.Entry) int64 {
	if !e.IsLine() {
		return e.At
	}
	at, err := strconv.ParseInt(e.Line[strings.LastIndexByte(e.Line, ' ')+1:], 10, 64)
	if err != nil {
		return math.MinInt64 + pendingStep
	}
	return at
}
