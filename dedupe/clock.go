package dedupe

import "math"

// Forgot tells the filter that there may have been tracks it does not know,
// with pings up to ts (ms): a track's first vertex must be later, because a
// vertex put into an old segment moves the line that dropped pings rely on.
// A caller that rebuilds the state from less than all there was calls it.
func (f *Filter) Forgot(ts int64) { f.forgot.raise(ts, ts) }

// Clock tells the filter the time, ms since 1970, of the commit that is judged or
// replayed next. Without it every ping is taken to be of the past.
//
// A track is forgotten up to this time at most: the clock of a phone may be wrong,
// and nobody else's pings are to be late until it is as late as that phone said. If
// the time is before what was forgotten, our own clock was wrong, or is now. Until
// it is as late again, no ping behind the earliest time that it tells counts as
// forgotten; from then on every one does that was.
//
// The price is a track whose forgotten pings were ahead of our clock when it was
// forgotten, or are when it comes back: pings before its newest may then be taken
// for new. What was dropped after its last stored ping that was not ahead may lie
// off the line, and of two positions of one instant the second takes the place of
// the first.
func (f *Filter) Clock(ms int64) {
	f.wall, f.latest = ms, max(f.latest, ms)
	if f.loading != nil {
		return // what is known is of later than the commit
	}
	if f.forgot.tell(ms) {
		f.caught = f.forgot.said
	}
	f.torn.tell(ms)
}

// past returns a time, ms, or now if it is ahead of our clock.
func (f *Filter) past(ts int64) int64 { return min(ts, f.wall) }

// met returns a time, ms, or the latest that our clock has been if it is ahead of that.
func (f *Filter) met(ts int64) int64 { return min(ts, max(f.wall, f.latest)) }

// forgetTo notes that pings up to ts (ms) are forgotten.
func (f *Filter) forgetTo(ts int64) { f.forgot.raise(f.past(ts), f.met(ts)) }

// savedBase returns what a checkpoint says of t's base. It cannot say that our clock
// is behind, so that of a track without vertices is then all that was forgotten.
func (f *Filter) savedBase(t *track) int64 {
	switch {
	case t.N > 0:
		return t.Base
	case f.wall < f.forgot.said:
		return max(t.Base, f.forgot.said)
	}
	return max(t.Base, f.caught)
}

// floor returns what the first vertex of a lineless track must be later than, ms:
// what may have been forgotten of the track when it was made, or what was lost since.
// What is forgotten of others in the meantime does not matter, or whoever is new
// while many riders come and go would be late for as long as they do.
func (f *Filter) floor(t *track) int64 {
	floor := int64(math.MinInt64)
	if t.N == 0 {
		floor = max(t.Base, f.caught)
	}
	if t.broken {
		floor = max(floor, f.torn.counts)
	}
	return f.past(floor)
}
