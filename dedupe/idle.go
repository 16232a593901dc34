package dedupe

import "time"

// turn is the idle wait in ticks.
const turn = 64

// slots is more than a turn, so that a slot holds one tick's tracks only.
const slots = 2 * turn

// wheel finds the pings held too long without a look at the others. A track is
// in at most one slot, at or before the tick when its ping is due; if a newer
// one is held by then, the track moves on to the slot of that one. So a track is
// looked at about once a turn, however many pings it has.
type wheel struct {
	tickLen time.Duration // 0: off
	started bool
	origin  time.Duration // clock at tick 0
	now     uint32        // next tick to look at
	slots   [slots]uint32 // by tick: first track, chained by waiting
	taken   uint32        // what is left of the slot looked at last
}

func newWheel(idle time.Duration) wheel {
	return wheel{tickLen: (idle + turn - 1) / turn}
}

// tick returns the clock in ticks since the first time it was asked.
func (w *wheel) tick(now time.Duration) uint32 {
	if w.tickLen == 0 {
		return 0
	}
	if !w.started {
		w.started, w.origin = true, now
	}
	return uint32(max(now-w.origin, 0) / w.tickLen)
}

// watch puts track i, which holds a ping since a tick, on the wheel.
func (f *Filter) watch(i, since uint32) {
	w, t := &f.wheel, f.tracks.At(i)
	if w.tickLen == 0 || t.inWheel {
		return
	}
	at := max(since+turn+1, w.now) % slots
	t.inWheel, t.waiting = true, w.slots[at]
	w.slots[at] = i
}

// Idle stores the pings that have been held for IdleFlush, at most about limit
// of them, and reports whether there are more. A ping held before Replay has
// waited since the first call of Judge or Idle. Call it about every second.
func (f *Filter) Idle(b *Batch, now time.Duration, limit int) (more bool) {
	f.endLoad()
	before := len(b.Entries)
	for f.riders > f.cfg.MaxRiders {
		if len(b.Entries)-before >= limit {
			return true
		}
		f.evict(b, f.victim(), false)
	}
	w := &f.wheel
	if w.tickLen == 0 {
		return false
	}
	tick := w.tick(now)
	w.now = max(w.now, tick-min(tick, slots-1))
	for {
		switch i := w.taken; {
		case i == 0 && w.now > tick:
			return false
		case i == 0:
			at := w.now % slots
			w.taken, w.slots[at] = w.slots[at], 0
			w.now++
		case len(b.Entries)-before >= limit:
			return true
		default:
			t := f.tracks.At(i)
			w.taken, t.inWheel = t.waiting, false
			f.flushDue(b, i, tick)
		}
	}
}

// flushDue stores what track i has held for a turn and waits for the rest.
func (f *Filter) flushDue(b *Batch, i, tick uint32) {
	t := f.tracks.At(i)
	since, waits := tick, false
	if t.backlog != 0 {
		if s := f.backlogs.At(t.backlog); s.since+turn < tick {
			f.promote(b, i, back)
		} else {
			since, waits = min(since, s.since), true
		}
	}
	if t.holds {
		if t.since+turn < tick {
			f.promote(b, i, next)
		} else {
			since, waits = min(since, t.since), true
		}
	}
	if waits {
		f.watch(i, since)
	}
}

// Flush stores held pings, at most about limit of them, and reports whether
// there are more: what a caller does before it stops.
func (f *Filter) Flush(b *Batch, limit int) (more bool) {
	f.endLoad()
	before := len(b.Entries)
	for f.holding > 0 && len(b.Entries)-before < limit {
		f.flushed = f.flushed%f.tracks.Last + 1
		if f.tracks.At(f.flushed).used {
			f.promoteAll(b, f.flushed)
		}
	}
	return f.holding > 0
}
