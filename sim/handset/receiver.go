package handset

import (
	"math"

	"pingline"
)

// Sky is how much of the sky a receiver sees.
type Sky uint8

// Skies, and what a receiver makes of them.
const (
	Open    Sky = iota
	Parked      // under the roof of a car: says 2.5 times its error
	Indoors     // the fix wanders about, 4 times as far as outdoors
	Shaded      // just out of a tunnel: 6 times
	Hidden      // in a tunnel: no fix, or one of a phone mast, 12 times as far off
)

var wander = [...]float64{Open: 1, Parked: 1, Indoors: 4, Shaded: 6, Hidden: 12}

// mostAccuracy is the most that a receiver says, in metres.
const mostAccuracy = 150

// Motion is where a rider is, and how it moves there.
type Motion struct {
	East, North float64 // metres from the chart's origin
	Speed       float64 // m/s
	Heading     float64 // degrees clockwise from north, if Speed > 0
	Sky         Sky
}

// A receiver's error is the sum of a slow part, which goes smoothly from one
// knot to the next, and of a little jitter that is new in every fix.
const (
	knot       = 20_000 // ms between two knots
	coarseOnce = 16     // one knot in so many is under bridges or between towers
	jitter     = 0.2    // of the accuracy
)

// Receive sets f to what the receiver of phone i makes of its rider's motion at
// f.At. Accuracy is 3 to 6 m outdoors, now and then up to 30; two fixes in three are
// within it, or more if parked. A phone that stands still knows no heading. A battery
// lasts ten to thirteen hours.
func (h *Handsets) Receive(f *pingline.Fix, i int, chart *Chart, m *Motion) {
	key := h.KeyOf(i)
	at := f.At + int64(key&0x7fff) // so that not all receivers have their knots at once
	n := at / knot
	a, b := knotAt(key, n), knotAt(key, n+1)
	s := float64(at-n*knot) / knot
	s *= s * (3 - 2*s) // so that the error has no corner at a knot
	accuracy := min((a.accuracy+s*(b.accuracy-a.accuracy))*wander[m.Sky], mostAccuracy)
	r := Draw(key, forJitter, f.At)
	sigma := accuracy / 1.5 // two thirds of a round normal distribution
	noise := sigma * jitter / wander[m.Sky]
	east := m.East + sigma*(a.x+s*(b.x-a.x)) + noise*Triangle(r)
	north := m.North + sigma*(a.y+s*(b.y-a.y)) + noise*Triangle(r>>16)
	chart.Place(f, east, north)

	if m.Sky == Parked {
		accuracy *= 2.5
	}
	f.Accuracy, f.Speed, f.Battery = rounded(accuracy, 10), 0, rounded(battery(key, f.At), 100)
	f.Known |= pingline.HasAccuracy | pingline.HasSpeed | pingline.HasBattery
	if m.Speed > 0 {
		f.Speed = rounded(math.Abs(m.Speed+0.2*Triangle(r>>32)), 100)
		heading := m.Heading + 1.5*Triangle(r>>40)
		f.Heading = rounded(heading-360*math.Floor(heading/360), 10)
		f.Known |= pingline.HasHeading
	}
}

// rounded returns v as phones send it, in steps of 1/unit.
func rounded(v, unit float64) float32 { return float32(math.Floor(v*unit+0.5) / unit) }

// knotValue is the state of a receiver at a knot.
type knotValue struct {
	x, y     float64 // error, standard deviations
	accuracy float64 // metres
}

func knotAt(key uint64, n int64) knotValue {
	h := Draw(key, forReceiver, n)
	v := knotValue{Triangle(h), Triangle(h >> 16), 3 + 3*float64(h>>32&0xff)/0x100}
	if h>>40&(coarseOnce-1) == 0 {
		v.accuracy = 12 + 18*float64(h>>44&0xff)/0x100
	}
	return v
}

// battery returns the charge of a phone: down to 15 % over a day's work, then
// up again.
func battery(key uint64, at int64) float64 {
	h := Draw(key, forBattery, 0)
	period := int64(10+h&3) * 3_600_000 * 10 / 9
	day := float64((at+int64(h>>8&(1<<30-1)))%period) / float64(period)
	if day < 0.9 {
		return 1 - 0.85*day/0.9
	}
	return 0.15 + 0.85*(day-0.9)/0.1
}
