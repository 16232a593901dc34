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
