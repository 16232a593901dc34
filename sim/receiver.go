package sim

import (
	"math"

	"pingline"
)

// A receiver's error is the sum of a slow part, which goes smoothly from one
// knot to the next, and of a little jitter that is new in every fix.
const (
	knot       = 32_000 // ms between two knots
	coarseOnce = 16     // one knot in so many is under bridges or between towers
	jitter     = 0.15   // of the accuracy
)

// receive sets f to what the receiver of phone i makes of its rider's motion.
// Accuracy is 3 to 6 m, now and then up to 30, and 2.5 times that parked (the
// phone is indoors, and errs no more for it); two fixes in three are within it.
// A phone that stands still knows no heading.
func (c *City) receive(f *pingline.Fix, i int, m *motion) {
	key := mix(c.key + uint64(i)*golden)
	at := f.At + int64(key&0x7fff) // so that not all receivers have their knots at once
	n := at / knot
	a, b := knotAt(key, n), knotAt(key, n+1)
	s := float64(at-n*knot) / knot
	s *= s * (3 - 2*s) // so that the error has no corner at a knot
	accuracy := a.accuracy + s*(b.accuracy-a.accuracy)
	h := draw(key, forJitter, f.At)
	sigma := accuracy / 1.5 // two thirds of a round normal distribution
	x := m.x + sigma*(a.x+s*(b.x-a.x)+jitter*triangle(h))
	y := m.y + sigma*(a.y+s*(b.y-a.y)+jitter*triangle(h>>16))
	c.position(f, x, y)

	if m.parked {
		accuracy *= 2.5
	}
	set(f, pingline.HasAccuracy, accuracy, 10)
	set(f, pingline.HasSpeed, 0, 100)
	if m.speed > 0 {
		set(f, pingline.HasSpeed, math.Abs(m.speed+0.2*triangle(h>>32)), 100)
		// The grid's second axis is to the left of the first.
		heading := c.axisHeading - m.heading + 1.5*triangle(h>>40)
		set(f, pingline.HasHeading, math.Mod(heading+720, 360), 10)
	}
	set(f, pingline.HasBattery, battery(key, f.At), 100)
}

// position sets f's position to x, y metres along the grid's axes.
func (c *City) position(f *pingline.Fix, x, y float64) {
	east, north := x*c.axisE-y*c.axisN, x*c.axisN+y*c.axisE
	lon := c.cfg.Lon + east*c.degLon
	if lon > 180 {
		lon -= 360
	} else if lon < -180 {
		lon += 360
	}
	f.LatE7 = int32(math.Round((c.cfg.Lat + north*c.degLat) * pingline.E7))
	f.LonE7 = int32(math.Round(lon * pingline.E7))
}

// set sets the number k to v, rounded to 1/unit as phones do.
func set(f *pingline.Fix, k pingline.Known, v, unit float64) {
	f.SetOptional(k, math.Round(v*unit)/unit)
}

// knotValue is the state of a receiver at a knot.
type knotValue struct {
	x, y     float64 // error, standard deviations
	accuracy float64 // metres
}

func knotAt(key uint64, n int64) knotValue {
	h := draw(key, forReceiver, n)
	v := knotValue{triangle(h), triangle(h >> 16), 3 + 3*float64(h>>32&0xff)/0x100}
	if h>>40&(coarseOnce-1) == 0 {
		v.accuracy = 12 + 18*float64(h>>44&0xff)/0x100
	}
	return v
}

// triangle returns a number of mean 0 and deviation 1, made of the lowest 16
// bits of h: bell-shaped enough, and never beyond 2.45.
func triangle(h uint64) float64 {
	return (float64(h&0xff+h>>8&0xff)/0x100 - 255.0/256) * 2.449489742783178
}

// battery returns the charge of a phone: down to 15 % over a day's work, then
// up again.
func battery(key uint64, at int64) float64 {
	h := draw(key, forRider, 2)
	period := int64(10+h&3) * 3_600_000 * 10 / 9
	day := float64((at+int64(h>>8&(1<<30-1)))%period) / float64(period)
	if day < 0.9 {
		return 1 - 0.85*day/0.9
	}
	return 0.15 + 0.85*(day-0.9)/0.1
}
