package dedupe

import (
	"math"
	"time"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// Judge decides the fate of e, whose Ping, Cell and SubKey are set. It appends to b
// the entries to log, at most three: pings held earlier that are stored now, as promoted
// entries, and then e itself with Verdict, Late, Apart, State and Skipped set, unless
// it is a duplicate. Token names this ping in a later Settlement.
//
// Now is monotonic. Names must be valid (pingline.CheckID); e's strings may change
// after the call. Conflict reports that e was stored although, or because, another
// position is known for its instant.
func (f *Filter) Judge(b *Batch, e *pingline.Entry, bound Bound, token uint64, now time.Duration) (v pingline.Verdict, conflict bool) {
	f.endLoad()
	h := hold{token: token, since: f.wheel.Tick(now)}
	eps := bound.Of(&e.Fix)
	e.Verdict, e.Promoted, e.Late, e.Apart, e.State, e.Skipped = 0, false, false, false, aside, 0
	i, hash := f.find(&e.Ping)
	if i == 0 {
		i = f.judgeUnknown(b, hash, e)
	} else {
		if e.Attrs != "" && f.carried.Keeps(i, e.At, e.Attrs) {
			eps = 0 // so that e is stored; apply has no use for the bound of a stored ping
		}
		conflict = f.judgeKnown(b, i, e, eps)
	}
	if e.Verdict == pingline.Duplicate {
		return e.Verdict, false
	}
	if e.Late {
		f.counts.Late++
	}
	if conflict {
		f.counts.Conflicts++
	}
	e.Apart = e.Late || e.Event != "" && f.mayMeet(i, e)
	since := f.since(i, e)
	e.Skipped = f.apply(i, e, eps, h)
	b.Entries, b.Since = append(b.Entries, *e), append(b.Since, since)
	return e.Verdict, conflict
}

// mayMeet reports whether there may be another vertex at e's instant, so that in the
// store the event of either would replace the event of the other: e's own fix, stored
// before, or a vertex that is not known any more. There is none if e moves the end of a
// known line.
func (f *Filter) mayMeet(i uint32, e *pingline.Entry) bool {
	return e.State == aside || e.State == first || f.tracks.At(i).lineless()
}

// Has reports whether p's track is known, if only by late pings.
func (f *Filter) Has(p *pingline.Ping) bool {
	f.endLoad()
	return f.lookup(f.hash(p.Rider, p.Device), p.Rider, p.Device) != 0
}

// judgeUnknown judges a ping of a track that is not known: its first vertex,
// or late if it may lie before a ping of the track that was forgotten. It
// returns the track.
func (f *Filter) judgeUnknown(b *Batch, hash uint32, e *pingline.Entry) uint32 {
	e.Verdict, e.State = pingline.Accepted, first
	if e.Corrected || f.mayBeForgotten(e) {
		e.Late, e.State = true, newcomer
	}
	if old, ofRider := f.makeRoom(&e.Ping); old != 0 {
		f.evict(b, old, ofRider)
	}
	return f.create(hash, e.Rider, e.Device, true)
}

// evict stores the pings that a track holds, and forgets the track.
func (f *Filter) evict(b *Batch, i uint32, ofRider bool) {
	f.promoteAll(b, i)
	f.forgetFor(i, ofRider)
	f.counts.Evicted++
}

// judgeKnown sets e's verdict, late mark and state. It promotes the held pings that
// must be stored before e, and settles a held ping that e covers, but changes nothing
// else.
func (f *Filter) judgeKnown(b *Batch, i uint32, e *pingline.Entry, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	switch {
	case e.Corrected: // no line may rest on a time that is a guess
		e.Verdict, e.Late = pingline.Accepted, true
		return false
	case p.At > t.newest() && (!t.lineless() || p.At > f.floor(t)):
		f.judgeNext(b, i, e, eps)
		return false
	case e.Event != "":
		return f.judgePastEvent(b, i, e, eps)
	case !f.knowsTrip(i, e.Trip):
		return f.judgePastStored(b, i, e, eps)
	case t.lineless():
		judgeLineless(t, e)
		return false
	}
	return f.judgePast(b, i, e, eps)
}

// judgeNext judges a ping newer than all of its track: it settles the held ping, and
// then either stores or holds e.
func (f *Filter) judgeNext(b *Batch, i uint32, e *pingline.Entry, eps float64) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	if t.holds {
		if t.lineless() || f.leaves(t.frame, t.Last(), p) || t.misses(p, eps) || !t.passes(t.Last(), p) {
			f.promote(b, i, next)
		} else {
			b.settle(t.token, false)
		}
	}
	e.State, e.Verdict = next, pingline.Held
	if e.Event != "" || e.Trip != f.names.At(i).trip || eps == 0 || t.lineless() || f.leaves(t.frame, t.Last(), p) || f.stale(t, p, eps) {
		e.Verdict = pingline.Accepted
	}
}

// leaves reports whether a line from vertex v must not go as far as p, because the
// plane does not carry so far, or the line would be longer than MaxGap.
func (f *Filter) leaves(fr plane.Frame, v, p plane.Spot) bool {
	return max(p.At-v.At, v.At-p.At) > f.maxGap || !fr.Carries(v, p)
}

// stale reports whether the newest vertex would mislead a live view: p is more than
// LiveGap later, and the rider has moved.
func (f *Filter) stale(t *track, p plane.Spot, eps float64) bool {
	v := t.Last()
	return p.At-v.At > f.liveGap && t.frame.Moved(v, p, eps)
}

// judgePastEvent judges a ping with an event that is not the newest of its track. It is
// stored, unless it was stored before.
func (f *Filter) judgePastEvent(b *Batch, i uint32, e *pingline.Entry, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	if t.marks != 0 && f.blocks.Remembers(t.marks, vertices.NewMark(p, e.Event)) && f.knowsTrip(i, e.Trip) {
		e.Verdict = pingline.Duplicate
		return false
	}
	if !t.holds && t.N > 0 && t.Last() == p && (e.Trip == "" || e.Trip == f.names.At(i).trip) {
		e.Verdict = pingline.Accepted // the same point again, now with its event
		return false
	}
	return f.judgePastStored(b, i, e, eps)
}

// judgePastStored judges a ping that is not the newest and has to be stored: as a
// vertex if it is at the held fix, or where nothing was dropped, and late otherwise.
func (f *Filter) judgePastStored(b *Batch, i uint32, e *pingline.Entry, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	e.Verdict = pingline.Accepted
	known, ok := f.known(t, p.At)
	switch {
	case t.holds && plane.SpotOf(&t.fix) == p:
		b.settle(t.token, false) // the chord to the held ping is the chord to e
		e.State = next
	case t.lineless():
		e.Late = true
	case t.backlog != 0 && plane.SpotOf(&f.backlogs.At(t.backlog).fix) == p:
		b.settle(f.backlogs.At(t.backlog).token, false)
		e.State = back
	case ok:
		e.Late = true
	default:
		return f.judgePast(b, i, e, 0) // with a bound of 0 no line passes e, so that it is stored
	}
	return e.Late && ok && !known.SamePlace(p) && !plane.Near(known, p, eps)
}

// known returns the ping, held or vertex, known for an instant.
func (f *Filter) known(t *track, ts int64) (plane.Spot, bool) {
	if t.holds && t.fix.At == ts {
		return plane.SpotOf(&t.fix), true
	}
	if t.backlog != 0 {
		if s := f.backlogs.At(t.backlog); s.fix.At == ts {
			return plane.SpotOf(&s.fix), true
		}
	}
	if at, ok := f.blocks.Find(&t.Recent, ts); ok {
		s := t.Spot(*f.blocks.Vertex(&t.Recent, at))
		return s, s.At == ts
	}
	return plane.Spot{}, false
}

// Changed reports whether e shows a change of an attribute of Keep, or one of them for the
// first time. It changes nothing.
func (f *Filter) Changed(e *pingline.Entry) bool {
	return e.Attrs != "" && f.carried.Spares(f.lookup(f.hash(e.Rider, e.Device), e.Rider, e.Device), e.At, e.Attrs)
}

// Look returns the time (ms) of the newest ping known of e's track that is not
// late, the smallest int64 if there is none, and whether Judge would find e, which
// has no event, to be a duplicate. It changes nothing.
func (f *Filter) Look(e *pingline.Entry) (newest int64, duplicate bool) {
	f.endLoad()
	i := f.lookup(f.hash(e.Rider, e.Device), e.Rider, e.Device)
	if i == 0 {
		return math.MinInt64, false
	}
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	switch known, ok := f.known(t, p.At); {
	case !f.knowsTrip(i, e.Trip):
	case t.lineless():
		duplicate = t.holds && plane.SpotOf(&t.fix) == p
	case ok && known == p:
		duplicate = true
	}
	return t.newest(), duplicate
}

// judgeLineless judges a past ping of a lineless track.
func judgeLineless(t *track, e *pingline.Entry) {
	if t.holds && plane.SpotOf(&t.fix) == plane.SpotOf(&e.Fix) {
		e.Verdict = pingline.Duplicate
		return
	}
	e.Verdict, e.Late = pingline.Accepted, true
}

// judgePast judges a ping without event that is not newer than all of its
// track, by the segment it falls into.
func (f *Filter) judgePast(b *Batch, i uint32, e *pingline.Entry, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	if t.backlog != 0 && f.backlogs.At(t.backlog).covers(p.At) {
		return f.judgeBacklog(b, i, e, eps)
	}
	if t.holds && p.At > t.Last().At {
		if t.crowded || p.At == t.fix.At || t.backlog == 0 && f.backlogsFull() {
			return f.judgeBetween(b, i, e, &t.line, t.Last(), next, eps)
		}
		f.promote(b, i, next) // so that the segment, in which nothing was dropped, has an end
		return f.judgePast(b, i, e, eps)
	}
	start, end, crowded := f.segment(t, p.At)
	if start.At == p.At {
		return judgeInstant(e, start, eps)
	}
	switch full := t.backlog == 0 && f.backlogsFull(); {
	case start == end, start == longAgo && (full || f.mayBeForgotten(e)):
		e.Verdict, e.Late = pingline.Accepted, true // before all known vertices, and no backlog may be opened
	case crowded || full:
		judgeFit(e, start, end, eps)
	default:
		return f.judgeEmpty(b, i, e, start, end, eps)
	}
	return false
}

// judgeInstant judges a ping at a vertex's instant.
func judgeInstant(e *pingline.Entry, vertex plane.Spot, eps float64) (conflict bool) {
	p := plane.SpotOf(&e.Fix)
	switch {
	case p.SamePlace(vertex):
		e.Verdict = pingline.Duplicate
	case plane.Near(vertex, p, eps):
		e.Verdict = pingline.Redundant
	default:
		e.Verdict, e.Late = pingline.Accepted, true
		return true
	}
	return false
}

// judgeFit judges a ping by a segment that will not change any more.
func judgeFit(e *pingline.Entry, from, to plane.Spot, eps float64) {
	if plane.OnLine(from, to, plane.SpotOf(&e.Fix), eps) {
		e.Verdict = pingline.Redundant
		return
	}
	e.Verdict, e.Late = pingline.Accepted, true
}

// judgeBetween judges a ping between the vertex of an open line and the ping held
// there, or at the held ping's instant. A ping that fits the chord to the held ping
// narrows the polygon. If the held ping is then outside, it is stored, so that the
// chord to it stays.
func (f *Filter) judgeBetween(b *Batch, i uint32, e *pingline.Entry, l *line, vertex plane.Spot, kind uint8, eps float64) (conflict bool) {
	p, held := plane.SpotOf(&e.Fix), plane.SpotOf(&l.fix)
	if p == held {
		e.Verdict = pingline.Duplicate
		return false
	}
	if vertex.At < held.At {
		judgeFit(e, vertex, held, eps)
	} else {
		judgeFit(e, held, vertex, eps)
	}
	if e.Late {
		return p.At == held.At
	}
	poly := plane.Open
	if l.frame.Carries(vertex, p) {
		poly.Narrow(l.frame.Velocity(vertex, p), eps, p.At-vertex.At)
		if poly.Contains(l.frame.Velocity(vertex, held)) {
			return false
		}
	}
	f.promote(b, i, kind)
	return false
}

// promote stores the ping held on the track's open line, or in its backlog.
func (f *Filter) promote(b *Batch, i uint32, kind uint8) {
	t, n := f.tracks.At(i), f.names.At(i)
	l, trip := &t.line, n.trip
	if kind == back {
		s := f.backlogs.At(t.backlog)
		l, trip = &s.line, s.trip
	}
	rider, device := RiderDevice(n.key)
	b.settle(l.token, true)
	b.Entries = append(b.Entries, pingline.Entry{
		Ping:     pingline.Ping{Rider: rider, Device: device, Trip: trip, Attrs: f.carried.Held(i, kind == back), Fix: l.fix},
		Cell:     l.cell,
		SubKey:   l.subKey,
		Verdict:  pingline.Accepted,
		Promoted: true,
		State:    kind,
	})
	e := &b.Entries[len(b.Entries)-1]
	b.Since = append(b.Since, f.since(i, e))
	e.Skipped = f.apply(i, e, 0, hold{})
}

// promoteAll stores all pings that a track holds.
func (f *Filter) promoteAll(b *Batch, i uint32) {
	t := f.tracks.At(i)
	if t.backlog != 0 {
		f.promote(b, i, back)
	}
	if t.holds {
		f.promote(b, i, next)
	}
}
