package dedupe

import "time"

// turn is the idle wait in ticks.
const turn = 64

// slots is more than a turn, so that a slot holds the tracks of a single tick.
const slots = 2 * turn

// wheel finds the pings held too long without a look at all held pings. A track is in
// at most one slot, at or before the tick when its held ping is due. If it holds a
// newer ping by then, it moves on to the slot of the newer ping. So a track is looked
// at about once a turn, however many pings it has.
type wheel struct {
	tickLen time.Duration // 0: off
	started bool
	origin  time.Duration // clock at tick 0
	now     uint32        // next tick to look at
	slots   [slots]uint32 // by tick: first track, chained by track.waiting
	taken   uint32        // first track left of the slot looked at last
}

func newWheel(idle time.Duration) wheel {
	return wheel{tickLen: (idle + turn - 1) / turn}
}

// tick returns the time in ticks since its first call.
func (w *wheel) tick(now time.Duration) uint32 {
	if w.tickLen == 0 {
		return 0
	}
	if !w.started {
		w.started, w.origin = true, now
	}
	return uint32(max(now-w.origin, 0) / w.tickLen)
}
