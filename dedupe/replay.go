package dedupe

import (
	"math"

	"pingline"
)

// Replay changes the state by entries of the log's commit of that number, as
// Judge did when they were logged: the entries and the bound in their commit
// decide, not this filter's settings. After Load, all later entries must be replayed,
// in the log's order. Replay returns the least Batch.Since of the stored entries: the
// largest int64 if none is stored, the smallest int64 if it is not known.
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
			f.forget(i) // the track had been forgotten when e was judged
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

// missed reports whether e belongs to a track that was known when e was judged and is
// not known now: commits are missing, or this filter has room for fewer tracks. Then
// the pings dropped on the track are not known either.
func (f *Filter) missed(e *pingline.Entry) bool {
	if e.Late || e.Promoted || e.Verdict == pingline.Redundant {
		return false
	}
	return f.damaged || f.loading == nil && (e.State == next || e.State == back)
}

// replayFirst makes room for a new track as Judge did. A track of the same name had
// been forgotten when e was judged, and is forgotten now. A track that should make room
// but holds a ping stays, because the log has no promotion of that ping.
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

// Damaged tells the filter that commits are missing from the log it replays. Then the
// line that a dropped ping relies on is not known for any track. Each track starts anew
// with its next ping that is later than ts (ms): that ping and the held ping are stored,
// and older pings are late. As with Forgot, a new track's first vertex must be later
// than ts, too.
func (f *Filter) Damaged(ts int64) {
	f.endLoad()
	f.Forgot(ts)
	f.torn.Raise(ts, ts)
	f.damaged = true
	for i := uint32(1); i <= f.tracks.Last; i++ {
		t := f.tracks.At(i)
		if !t.used {
			continue
		}
		t.broken = true
		f.blocks.ClearMarks(&t.marks) // the pings that they mark may not have been written
	}
}
