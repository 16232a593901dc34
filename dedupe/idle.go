package dedupe

import (
	"time"

	"pingline/dedupe/wheel"
)

// Idle stores the pings that have been held for IdleFlush, at most about limit
// of them, and reports whether there are more. For a ping held by Replay the time
// runs from the first call of Judge or Idle. Call Idle about every second.
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
	if w.TickLen == 0 {
		return false
	}
	tick := w.Tick(now)
	w.Now = max(w.Now, tick-min(tick, wheel.Slots-1))
	for {
		switch i := w.Taken; {
		case i == 0 && w.Now > tick:
			return false
		case i == 0:
			at := w.Now % wheel.Slots
			w.Taken, w.Slots[at] = w.Slots[at], 0
			w.Now++
		case len(b.Entries)-before >= limit:
			return true
		default:
			t := f.tracks.At(i)
			w.Taken, t.inWheel = t.waiting, false
			f.flushDue(b, i, tick)
		}
	}
}

// flushDue stores the pings that track i has held for a turn, and puts it back on the
// wheel if it holds a younger ping.
func (f *Filter) flushDue(b *Batch, i, tick uint32) {
	t := f.tracks.At(i)
	since, waits := tick, false
	if t.backlog != 0 {
		if s := f.backlogs.At(t.backlog); s.since+wheel.Turn < tick {
			f.promote(b, i, back)
		} else {
			since, waits = min(since, s.since), true
		}
	}
	if t.holds {
		if t.since+wheel.Turn < tick {
			f.promote(b, i, next)
		} else {
			since, waits = min(since, t.since), true
		}
	}
	if waits {
		f.watch(i, since)
	}
}

// Flush stores held pings, at most about limit of them, and reports whether there are
// more. A caller flushes the filter before it stops.
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
