package handset

import (
	"math"

	"pingline"
)

// Scene is a rider at a moment: place, motion, surroundings.
type Scene struct {
	Motion
	Since  int64  // when the rider began its present round, ms since 1970
	Trip   int64  // the number of its trip in the round
	OnTrip bool   // it is on that trip now
	Event  string // the trip's edge that the rider passed last in this round, if any
	Edge   int64  // when it did: the first ms that is not before it
}

// World says what each rider does at a time, ms since 1970: a pure function.
type World interface {
	Scene(rider int, at int64) Scene
}

// Update sets all of p but its rider and device to what phone i sends at the time at,
// and reports whether it has a fix to send: if not, p is not to be used. The ping
// carries an event if a trip of its rider started or ended after since; of several the
// last. A name that p.Trip has already is not made again, so that a caller who passes
// the trip of the phone's last ping spares an allocation.
func (h *Handsets) Update(w World, chart *Chart, p *pingline.Ping, i int, since, at int64) bool {
	who := h.Owner(i)
	now := w.Scene(who, at)
	edge, event, trip := now.Edge, now.Event, now.Trip
	if event == "" && since < now.Since {
		before := w.Scene(who, now.Since-1)
		if edge, event = before.Edge, before.Event; edge > since && event != "" {
			trip = before.Trip
		}
	}
	if edge <= since || who != i { // the rider's own phone tells about trips
		event = ""
	}
	if now.Sky == Hidden && event == "" {
		return false
	}
	p.Fix = pingline.Fix{At: at}
	h.Receive(&p.Fix, i, chart, &now.Motion)
	p.Event = event
	if event != "" || now.OnTrip && who == i {
		p.Trip = TripName(p.Trip, who, trip)
	} else {
		p.Trip = ""
	}
	return true
}

// FirstAfter returns the first millisecond that is not before a time in seconds: from
// it on, and not before, a ping can tell what happened then.
func FirstAfter(seconds float64) int64 { return int64(math.Ceil(seconds * 1000)) }
