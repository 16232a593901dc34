package dedupe

import (
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
	"pingline/dedupe/wheel"
)

// apply changes the state by an entry that was judged, now or when it was
// logged. Every change of a track's state is made here, so that the state is a
// function of the log. If e is stored, apply returns the number of pings dropped since
// the last stored ping. Track 0 stands for a track that is not known.
func (f *Filter) apply(i uint32, e *pingline.Entry, eps float64, h hold) (skipped uint32) {
	if i == 0 {
		f.order.stamp++
		return 0
	}
	if !e.Promoted {
		f.touch(i)
		if e.Attrs != "" {
			f.carried.Note(i, e.At, e.Attrs)
		}
	}
	t := f.tracks.At(i)
	switch {
	case e.State == first, e.State == next:
		f.applyNext(i, e, eps, h)
	case e.State == newcomer:
		f.changeTrip(i, e.Trip)
	case e.State == back:
		f.applyBacklog(i, e, eps, h)
	case e.Verdict == pingline.Redundant:
		f.applyRedundant(t, plane.SpotOf(&e.Fix), eps)
		t.skip()
	}
	if !e.Stored() {
		return 0
	}
	if e.Event != "" {
		f.blocks.Remember(i, vertices.NewMark(plane.SpotOf(&e.Fix), e.Event))
	}
	if !f.knowsTrip(i, e.Trip) {
		f.blocks.Remember(i, tripMark(e.Trip))
	}
	skipped, t.skipped = t.skipped, 0
	return skipped
}

// since returns the time, ms, from which on readers see a difference if e, about to
// be applied to track i, is stored: a vertex moves the line from the vertex before it
// on.
func (f *Filter) since(i uint32, e *pingline.Entry) int64 {
	if i == 0 || !e.Stored() || e.Late {
		return e.At
	}
	t := f.tracks.At(i)
	switch {
	case e.State == next && t.N > 0:
		return min(e.At, t.Last().At+1)
	case e.State == back && t.backlog != 0:
		return min(e.At, f.backlogs.At(t.backlog).unmoved())
	}
	return e.At
}

// skip counts a dropped ping.
func (t *track) skip() {
	if t.skipped++; t.skipped == 0 {
		t.skipped--
	}
}

// applyNext moves the end of the track's open line to e.
func (f *Filter) applyNext(i uint32, e *pingline.Entry, eps float64, h hold) {
	t, p := f.tracks.At(i), plane.SpotOf(&e.Fix)
	begins := t.N == 0 && !t.broken
	before := int64(math.MinInt64)
	if t.holds {
		before = t.fix.At
		t.holds = false
		f.holding--
		if !e.Promoted { // covered
			t.crowded = true
			t.skip()
		}
	}
	if f.changeTrip(i, e.Trip) {
		eps = noLine // e is held only if logged by a version that did not store a trip's first ping
	}
	if e.Verdict == pingline.Held {
		if t.N > 0 {
			t.narrow(t.Last(), p, eps)
			t.pace = pace(p.At, max(t.Last().At, before))
		}
		f.hold(i, &t.line, e, h)
		return
	}
	if t.broken {
		f.blocks.Clear(&t.Recent)
		f.loseBacklog(t)
		t.broken = e.Promoted
	}
	f.blocks.Add(i, &t.Recent, p, t.crowded)
	t.fix, t.cell = e.Fix, e.Cell // for Newest: t holds nothing
	t.Whole = t.Whole || begins
	t.open(p)
}

// hold makes e the ping held on a line; the caller keeps its trip.
func (f *Filter) hold(i uint32, l *line, e *pingline.Entry, h hold) {
	l.fix, l.cell, l.subKey = e.Fix, e.Cell, e.SubKey
	l.token, l.since = h.token, h.since
	l.holds = true
	f.carried.Hold(i, l != &f.tracks.At(i).line, e.Attrs)
	f.holding++
	f.watch(i, h.since)
}

// applyRedundant notes a dropped ping that is not the newest, if the line that it
// relies on could still move.
func (f *Filter) applyRedundant(t *track, p plane.Spot, eps float64) {
	if t.backlog != 0 && f.backlogs.At(t.backlog).pass(p, eps) {
		return
	}
	if t.N == 0 {
		return
	}
	if p.At > t.Last().At {
		if t.holds {
			t.narrow(t.Last(), p, eps)
			t.crowded = true
		}
		return
	}
	at, ok := f.blocks.Find(&t.Recent, p.At)
	if !ok || t.Spot(*f.blocks.Vertex(&t.Recent, at)).At == p.At {
		return
	}
	if at, ok = f.blocks.After(&t.Recent, at); ok {
		f.blocks.Vertex(&t.Recent, at).SetCrowded()
	}
}

// watch puts track i, which holds a ping since a tick, on the wheel.
func (f *Filter) watch(i, since uint32) {
	w, t := &f.wheel, f.tracks.At(i)
	if w.TickLen == 0 || t.inWheel {
		return
	}
	at := max(since+wheel.Turn+1, w.Now) % wheel.Slots
	t.inWheel, t.waiting = true, w.Slots[at]
	w.Slots[at] = i
}

// holds reports whether track i holds a ping.
func (f *Filter) holds(i uint32) bool {
	t := f.tracks.At(i)
	return t.holds || t.backlog != 0
}
