package dedupe

import (
	"math"
	"math/bits"
	"strings"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// backlog is an open line in an old segment, with a ping held. Both ends are
// vertices, but that the segment before a track's first vertex begins long ago.
//
// The line is anchored at the start, or at the end if the pings come newest first.
// All that was dropped lies between the anchor and the held ping. With the second
// ping it is seen which way the backlog runs; until then nothing was dropped, the
// line is not crowded, and its polygon and frame are of no meaning.
type backlog struct {
	line
	start, end plane.Spot // equal if unknown
	toEnd      bool       // the anchor is the end
	eps        float64    // bound of the held ping, metres
	pace       uint8      // from the ping before to the held one
	trip       string
}

// longAgo is before all spots.
var longAgo = plane.Spot{At: math.MinInt64}

// covers reports whether ts lies in the backlog's segment.
func (s *backlog) covers(ts int64) bool { return s.start.At < ts && ts < s.end.At }

// ends returns the anchor and the other end.
func (s *backlog) ends() (anchor, far plane.Spot) {
	if s.toEnd {
		return s.end, s.start
	}
	return s.start, s.end
}

// unmoved returns the time, ms, before which readers see the same whether what is
// held is stored or not.
func (s *backlog) unmoved() int64 {
	if s.start == longAgo {
		return s.fix.At
	}
	return s.start.At + 1
}

// run settles which way the backlog runs: every later chord passes the held ping.
func (s *backlog) run(toEnd bool) {
	s.toEnd = toEnd
	anchor, _ := s.ends()
	s.open(anchor)
	s.narrow(anchor, plane.SpotOf(&s.fix), s.eps)
	s.crowded = true
}

// pass notes that p, which lies between the anchor and the held ping, was dropped,
// and reports whether it does lie there.
func (s *backlog) pass(p plane.Spot, eps float64) bool {
	if !s.covers(p.At) || p.At != s.fix.At && (p.At > s.fix.At) != s.toEnd {
		return false
	}
	if !s.crowded {
		s.run(s.toEnd)
	}
	anchor, _ := s.ends()
	s.narrow(anchor, p, eps)
	return true
}

// Where a track was sampled every second and then not for minutes, pings are taken
// to be missing, and no line is drawn over the gap until they have come: the first
// that is dropped there spoils it for the others. A gap is long if it is at least
// eight times as long as the one before, measured in powers of two.
const gapGrowth = 3

// pace is how many bits the time between two pings has, in ms.
func pace(a, b int64) uint8 { return uint8(bits.Len64(uint64(max(a-b, b-a)))) }

// leastGap is the shortest gap, in ms, over which a track's newest line is not
// drawn.
const leastGap = 60_000

// misses reports whether pings seem to be missing before or behind the held ping of
// the open line, now that p, newer than that, is there: the rider has moved on
// between two pings, by more than eps metres, and that took unusually long.
func (t *track) misses(p plane.Spot, eps float64) bool {
	held, after := plane.SpotOf(&t.fix), pace(p.At, t.fix.At)
	if after > t.pace+gapGrowth && p.At-held.At >= leastGap {
		return t.frame.Moved(held, p, eps)
	}
	return !t.crowded && t.pace > after+gapGrowth && held.At-t.Last().At >= leastGap && t.frame.Moved(t.Last(), held, eps)
}

// mostAlone is the longest segment, in ms, over which a single ping is dropped.
const mostAlone = 10_000

// judgeEmpty judges a ping in a segment in which nothing was dropped: it starts a
// backlog. One that is open elsewhere is settled first: its held ping is covered if
// the whole segment passes all that was dropped in it.
func (f *Filter) judgeEmpty(b *Batch, i uint32, e *pingline.Entry, start, end plane.Spot, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	if t.backlog != 0 {
		s := f.backlogs.At(t.backlog)
		if !f.closes(s) {
			f.promote(b, i, back) // the new vertex may push out the oldest
			return f.judgePast(b, i, e, eps)
		}
		b.settle(s.token, false)
	}
	e.State, e.Verdict = back, pingline.Held
	if eps == 0 || f.leavesVertex(start, p) && f.leavesVertex(end, p) {
		e.Verdict = pingline.Accepted
	}
	return false
}

// leavesVertex is leaves for a line of which no frame is known.
func (f *Filter) leavesVertex(v, p plane.Spot) bool {
	return v == longAgo || f.leaves(plane.FrameAt(v.Lat), v, p)
}

// closes reports whether a line over the whole segment passes all that was dropped
// in it, and the held ping.
func (f *Filter) closes(s *backlog) bool {
	anchor, far := s.ends()
	held := plane.SpotOf(&s.fix)
	switch {
	case s.start == s.end || s.start == longAgo:
		return false
	case !s.crowded:
		return s.end.At-s.start.At <= mostAlone && !f.leavesVertex(s.start, s.end) && plane.OnLine(s.start, s.end, held, s.eps)
	}
	return pace(held.At, far.At) <= s.pace+gapGrowth && !f.leaves(s.frame, anchor, far) && s.passes(anchor, far)
}

// judgeBacklog judges a ping in the segment of the track's backlog.
func (f *Filter) judgeBacklog(b *Batch, i uint32, e *pingline.Entry, eps float64) (conflict bool) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	s := f.backlogs.At(t.backlog)
	held := plane.SpotOf(&s.fix)
	if p == held || s.crowded && (p.At == held.At || (p.At > held.At) == s.toEnd) {
		anchor, _ := s.ends()
		return f.judgeBetween(b, i, e, &s.line, anchor, back, eps)
	}
	if p.At == held.At || !f.follows(s, p) {
		f.promote(b, i, back)
		return f.judgePast(b, i, e, eps) // by the new vertex
	}
	b.settle(s.token, false)
	e.State, e.Verdict = back, pingline.Held
	if eps == 0 {
		e.Verdict = pingline.Accepted
	}
	return false
}

// follows reports whether the backlog may go on with p, further from the anchor
// than the held ping: the chord to p passes all that was dropped, and the held one.
func (f *Filter) follows(s *backlog, p plane.Spot) bool {
	held, try := plane.SpotOf(&s.fix), *s
	if !s.crowded {
		try.toEnd = p.At < held.At
	}
	anchor, _ := try.ends()
	if anchor == longAgo {
		return false
	}
	if !s.crowded {
		try.run(try.toEnd)
		try.pace = pace(anchor.At, held.At)
		if try.pace > pace(held.At, p.At)+gapGrowth || !try.frame.Carries(anchor, held) {
			return false
		}
	}
	return pace(held.At, p.At) <= try.pace+gapGrowth && !f.leaves(try.frame, anchor, p) && try.passes(anchor, p)
}

// applyBacklog opens a backlog, goes on with it, or makes e a vertex there.
func (f *Filter) applyBacklog(i uint32, e *pingline.Entry, eps float64, h hold) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	if e.Promoted {
		f.addBack(i, p)
		return
	}
	if t.backlog != 0 {
		f.coverBacklog(t, p)
	}
	if t.backlog == 0 {
		start, end, _ := f.segment(t, p.At)
		f.openBacklog(t, start, end)
	}
	if e.Verdict == pingline.Accepted {
		f.addBack(i, p)
		return
	}
	s := f.backlogs.At(t.backlog)
	if !f.knowsTrip(i, e.Trip) {
		eps = noLine
	}
	if s.crowded {
		anchor, _ := s.ends()
		s.narrow(anchor, p, eps)
	}
	s.eps = eps
	if s.trip != e.Trip {
		f.text += textBytes(e.Trip) - textBytes(s.trip)
		s.trip = strings.Clone(e.Trip)
	}
	f.hold(i, &s.line, e, h)
}

// addBack makes p a vertex in the segment of the backlog, which it ends. It is not
// one of a broken track, which begins anew behind it.
func (f *Filter) addBack(i uint32, p plane.Spot) {
	t := f.tracks.At(i)
	crowded := false
	if t.backlog != 0 {
		s := f.backlogs.At(t.backlog)
		crowded = s.crowded && !s.toEnd
		if s.crowded && s.toEnd {
			f.crowd(t, s.end.At)
		}
		f.closeBacklog(t)
	}
	if !t.broken {
		f.blocks.Add(i, &t.Recent, p, crowded)
	}
}

// coverBacklog drops the ping held in the backlog: p, further on in the segment
// or the same fix, goes by it, or else the whole segment does.
func (f *Filter) coverBacklog(t *track, p plane.Spot) {
	s := f.backlogs.At(t.backlog)
	t.skip()
	if !s.covers(p.At) {
		f.crowd(t, s.end.At)
		f.closeBacklog(t)
		return
	}
	if p.At != s.fix.At {
		if !s.crowded {
			s.run(p.At < s.fix.At)
		}
		s.pace = pace(p.At, s.fix.At)
	}
	s.holds = false
	f.holding--
}

// crowd marks the segment that ends at the vertex of an instant: something was
// dropped in it.
func (f *Filter) crowd(t *track, end int64) {
	if at, ok := f.blocks.Find(&t.Recent, end); ok {
		f.blocks.Vertex(&t.Recent, at).SetCrowded()
	}
}

// segment returns the vertex at or before an instant, the next one, and whether
// something was dropped between them. If one of them is not known, they are equal.
func (f *Filter) segment(t *track, ts int64) (start, end plane.Spot, crowded bool) {
	start = longAgo
	var to vertices.Ref
	if from, ok := f.blocks.Find(&t.Recent, ts); ok {
		start = t.Spot(*f.blocks.Vertex(&t.Recent, from))
		if to, ok = f.blocks.After(&t.Recent, from); !ok {
			return start, start, false
		}
	} else if !t.Whole || t.N == 0 || t.Last().At-ts > math.MaxUint32 {
		return plane.Spot{}, plane.Spot{}, false
	} else {
		to = f.blocks.Oldest(&t.Recent)
	}
	point := f.blocks.Vertex(&t.Recent, to)
	return start, t.Spot(*point), point.Crowded()
}

// openBacklog gives the track a backlog between two vertices.
func (f *Filter) openBacklog(t *track, start, end plane.Spot) {
	if n := len(f.noBack); n > 0 {
		t.backlog = f.noBack[n-1]
		f.noBack = f.noBack[:n-1]
	} else {
		t.backlog = f.backlogs.Grow()
	}
	*f.backlogs.At(t.backlog) = backlog{start: start, end: end, line: line{poly: plane.Open}}
}

func (f *Filter) closeBacklog(t *track) {
	s := f.backlogs.At(t.backlog)
	if s.holds {
		f.holding--
	}
	f.text -= textBytes(s.trip)
	*s = backlog{}
	f.noBack = append(f.noBack, t.backlog)
	t.backlog = 0
}

// loseBacklog makes the backlog stand by itself: what is around it is no longer
// known.
func (f *Filter) loseBacklog(t *track) {
	if t.backlog != 0 {
		s := f.backlogs.At(t.backlog)
		s.start, s.end = plane.Spot{}, plane.Spot{}
	}
}

// backlogsFull reports whether no further track can have a backlog.
func (f *Filter) backlogsFull() bool {
	open := int(f.backlogs.Last) - len(f.noBack)
	return open >= max(f.cfg.MaxRiders/8, min(f.cfg.MaxRiders, 1024))
}
