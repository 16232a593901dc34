package dedupe

import (
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// apply changes the state by an entry that was judged, now or when it was
// logged; every change of a track's state is made here, so that it is a function
// of the log. It returns how many pings were dropped since the last stored one,
// if e is stored. Track 0 stands for one that is not known.
func (f *Filter) apply(i uint32, e *pingline.Entry, eps float64, h hold) (skipped uint32) {
	if i == 0 {
		f.order.stamp++
		return 0
	}
	if !e.Promoted {
		f.touch(i)
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

// since returns the time, ms, before which readers see the same whether e, about
// to be applied to track i, is stored or not: a vertex moves the line from the
// vertex before it on.
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
		eps = noLine // if it is held, by a version that did not store a trip's first ping
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
	t.Whole = t.Whole || begins
	t.open(p)
}

// hold makes e the ping held on a line; where its trip is kept is known to the caller.
func (f *Filter) hold(i uint32, l *line, e *pingline.Entry, h hold) {
	l.fix, l.cell, l.subKey = e.Fix, e.Cell, e.SubKey
	l.token, l.since = h.token, h.since
	l.holds = true
	f.holding++
	f.watch(i, h.since)
}

// applyRedundant notes a dropped ping that is not the newest where the line it
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

// Replay changes the state by entries of the log's commit of that number, as
// Judge did when they were logged: the entries and the bound in their commit
// decide, not this filter's settings. Entries must come in the log's order, all
// of them after those that Load has restored. It returns the least of what
// Batch.Since says of those that are stored, the largest int64 if none is; where
// that is not known, it is the smallest int64.
func (f *Filter) Replay(number uint64, bound Bound, entries []pingline.Entry) (since int64) {
	if f.loading != nil && number > f.loading.highest {
		f.endLoad()
	}
	since = math.MaxInt64
	for i := range entries {
		if i%Ahead == 0 {
			ahead := entries[i:]
			f.PrefetchFunc(len(ahead), func(k int) *pingline.Ping { return &ahead[k].Ping })
		}
		if s := f.replay(number, bound, &entries[i]); entries[i].Stored() {
			since = min(since, s)
		}
	}
	return since
}

func (f *Filter) replay(number uint64, bound Bound, e *pingline.Entry) (since int64) {
	i, hash := f.find(&e.Ping)
	switch {
	case i != 0 && f.loading.has(i, number):
		if !e.Promoted {
			f.order.stamp++
		}
		return math.MinInt64
	case e.State == first, e.State == newcomer:
		i = f.replayFirst(i, hash, e)
	case e.State == stranger:
		if i != 0 && !f.holds(i) {
			f.forget(i) // it had been forgotten when e was judged
		}
		i = 0
	case i == 0 && f.missed(e):
		i = f.create(hash, e.Rider, e.Device, false)
		f.tracks.At(i).broken = true
	case i == 0 && e.Promoted:
		return math.MinInt64
	}
	since = f.since(i, e)
	f.apply(i, e, bound.Of(&e.Fix), hold{})
	return since
}

// missed reports whether e goes on with a track that is not known though it was
// when e was judged: commits are missing, or this filter has room for less. What
// rested on the track is then not known either.
func (f *Filter) missed(e *pingline.Entry) bool {
	if e.Late || e.Promoted || e.Verdict == pingline.Redundant {
		return false
	}
	return f.damaged || f.loading == nil && (e.State == next || e.State == back)
}

// replayFirst makes room for a new track as Judge did, and forgets what is
// known of one of that name: when e was judged it had been forgotten. A track
// that holds a ping stays, because nothing is logged about its end.
func (f *Filter) replayFirst(i, hash uint32, e *pingline.Entry) uint32 {
	if i != 0 {
		hash = f.tracks.At(i).hash
		f.forget(i)
	} else if f.loading == nil {
		if old, ofRider := f.makeRoom(&e.Ping); old != 0 && !f.holds(old) {
			f.forgetFor(old, ofRider)
		}
	}
	return f.create(hash, e.Rider, e.Device, true)
}

// holds reports whether track i holds a ping.
func (f *Filter) holds(i uint32) bool {
	t := f.tracks.At(i)
	return t.holds || t.backlog != 0
}

// Damaged tells the filter that commits are missing from the log it replays.
// Of no track it is then known what line a dropped ping relies on: each starts
// anew with its next ping that is later than ts, which is stored, as is what it
// holds, and everything older is late. As with Forgot, a new track's first vertex
// must be later than ts, too.
func (f *Filter) Damaged(ts int64) {
	f.endLoad()
	f.Forgot(ts)
	f.torn.raise(ts, ts)
	f.damaged = true
	for i := uint32(1); i <= f.tracks.Last; i++ {
		t := f.tracks.At(i)
		if !t.used {
			continue
		}
		t.broken = true
		f.blocks.ClearMarks(&t.marks) // what they tell of may not have been written
	}
}
