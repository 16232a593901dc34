package dedupe

import (
	"math"
	"strings"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

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

// addBack makes p a vertex in the segment of the backlog and closes the backlog. In a
// broken track p is no vertex, because the track begins anew behind it.
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

// coverBacklog drops the ping held in the backlog. The chord to p passes it, if p is
// further on in the segment or at the same fix, or else the whole segment does.
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

// crowd marks that a ping was dropped in the segment whose end is the vertex at an
// instant.
func (f *Filter) crowd(t *track, end int64) {
	if at, ok := f.blocks.Find(&t.Recent, end); ok {
		f.blocks.Vertex(&t.Recent, at).SetCrowded()
	}
}

// segment returns the vertex at or before an instant, the next vertex, and whether a
// ping was dropped between them. If either is not known, the two are equal.
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

// loseBacklog takes the segment from the backlog, because its vertices are no longer
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
