package dedupe

import "math"

// Forgot tells the filter that there may have been tracks it does not know, with
// pings up to ts (ms). A track's first vertex must be later, because a vertex put
// into an old segment moves the line that dropped pings rely on. A caller that
// rebuilds the state from a part of the log calls Forgot.
func (f *Filter) Forgot(ts int64) { f.forgot.Raise(ts, ts) }

// Clock tells the filter the time, ms since 1970, of the commit that is judged or
// replayed next. Without it every ping is taken to be of the past.
//
// A track is forgotten up to this time at most, because the clock of a phone may be
// ahead: else the pings of all other riders would be late until our clock gets there.
// If ms is before the time up to which pings are forgotten, our own clock was or is
// wrong. Until it is as late again, no ping behind the earliest time that it tells
// counts as forgotten; from then on every forgotten ping counts again.
//
// The price is paid by a track whose forgotten pings were ahead of our clock when it
// was forgotten, or are when it comes back: pings before its newest may be taken for
// new. Then a ping dropped after its last stored ping that was not ahead may lie off
// the line, and of two positions of an instant the second replaces the first.
func (f *Filter) Clock(ms int64) {
	f.wall, f.latest = ms, max(f.latest, ms)
	if f.loading != nil {
		return // the restored tracks stand at a later commit
	}
	if f.forgot.Tell(ms) {
		f.caught = f.forgot.Said
	}
	f.torn.Tell(ms)
}

// past returns ts, ms, or the time of our clock if ts is ahead of it.
func (f *Filter) past(ts int64) int64 { return min(ts, f.wall) }

// met returns ts, ms, or the latest time of our clock so far if ts is ahead of it.
func (f *Filter) met(ts int64) int64 { return min(ts, max(f.wall, f.latest)) }

// forgetTo notes that pings up to ts (ms) are forgotten.
func (f *Filter) forgetTo(ts int64) { f.forgot.Raise(f.past(ts), f.met(ts)) }

// savedBase returns t's base for a checkpoint. A checkpoint cannot express that our
// clock is behind: then the base of a track without vertices is the time up to which
// any ping was forgotten.
func (f *Filter) savedBase(t *track) int64 {
	switch {
	case t.N > 0:
		return t.Base
	case f.wall < f.forgot.Said:
		return max(t.Base, f.forgot.Said)
	}
	return max(t.Base, f.caught)
}

// floor returns the time, ms, behind which the first vertex of a lineless track must
// lie: the time up to which pings of the track may have been forgotten before it was
// made, or lost since. Tracks forgotten in the meantime do not count: else a new rider
// would be late for as long as many riders come and go.
func (f *Filter) floor(t *track) int64 {
	floor := int64(math.MinInt64)
	if t.N == 0 {
		floor = max(t.Base, f.caught)
	}
	if t.broken {
		floor = max(floor, f.torn.Counts)
	}
	return f.past(floor)
}
