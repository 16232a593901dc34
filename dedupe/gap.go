package dedupe

import (
	"pingline"
	"pingline/dedupe/plane"
)

// judgeEmpty judges a ping in a segment in which nothing was dropped: the ping starts
// a backlog. A backlog open in another segment is settled first: its held ping is
// covered if a line over the whole of its segment passes all pings dropped in it.
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

// leavesVertex is leaves for a line without a frame.
func (f *Filter) leavesVertex(v, p plane.Spot) bool {
	return v == longAgo || f.leaves(plane.FrameAt(v.Lat), v, p)
}

// closes reports whether a line over the whole segment passes all pings dropped in
// it, and the held ping.
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
		return f.judgePast(b, i, e, eps) // now against the new vertex
	}
	b.settle(s.token, false)
	e.State, e.Verdict = back, pingline.Held
	if eps == 0 {
		e.Verdict = pingline.Accepted
	}
	return false
}

// follows reports whether the backlog may go on with p, further from the anchor
// than the held ping: the chord to p passes all dropped pings, and the held ping.
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

// mostAlone is the longest segment, in ms, over which a single ping is dropped.
const mostAlone = 10_000
