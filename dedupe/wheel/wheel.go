// Package wheel finds what has waited too long without a look at all that waits.
package wheel

import "time"

// Turn is the idle wait in ticks.
const Turn = 64

// Slots is more than a turn, so that a slot holds the tracks of a single tick.
const Slots = 2 * Turn

// Wheel finds the pings held too long without a look at all held pings. A track is in
// at most one slot, at or before the tick when its held ping is due. If it holds a
// newer ping by then, it moves on to the slot of the newer ping. So a track is looked
// at about once a turn, however many pings it has. The filter chains the tracks of a slot.
type Wheel struct {
	TickLen time.Duration // 0: off
	Now     uint32        // next tick to look at
	Slots   [Slots]uint32 // by tick: first track
	Taken   uint32        // first track left of the slot looked at last

	started bool
	origin  time.Duration // clock at tick 0
}

// New returns a wheel on which a wait of idle takes a turn; 0 turns it off.
func New(idle time.Duration) Wheel {
	return Wheel{TickLen: (idle + Turn - 1) / Turn}
}

// Tick returns the time in ticks since its first call.
func (w *Wheel) Tick(now time.Duration) uint32 {
	if w.TickLen == 0 {
		return 0
	}
	if !w.started {
		w.started, w.origin = true, now
	}
	return uint32(max(now-w.origin, 0) / w.TickLen)
}
