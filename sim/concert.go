package sim

import (
	"fmt"
	"math"
	"time"

	"pingline/sim/handset"
)

// Concert fills a stadium until its end. The riders who are there leave it on foot
// within a quarter of an hour, most of them at once, get into cars some hundred
// metres away, couriers onto their bicycles, and go back to their usual lives.
type Concert struct {
	Lat, Lon float64   // degrees; 0,0 means the city's centre
	End      time.Time // to the millisecond
	Share    float64   // of the riders who are there, buses aside, in [0, 1]; 0 means no concert
}

const (
	stadiumRadius = 90.0 // metres, less than a block
	exodus        = 15 * 60
	carPark       = 4   // blocks from the stadium, at most, along each axis
	queueing      = 240 // seconds that red lights may take on the way home
)

// openStadium finds the crossing at which the concert is.
func (c *City) openStadium() error {
	g := &c.cfg.Concert
	if !(g.Share >= 0 && g.Share <= 1) {
		return fmt.Errorf("concert: share of %g not in [0, 1]", g.Share)
	}
	if g.Share == 0 {
		return nil
	}
	if g.Lat == 0 && g.Lon == 0 {
		g.Lat, g.Lon = c.cfg.Lat, c.cfg.Lon
	}
	east, north := c.chart.Metres(g.Lat, g.Lon)
	if far := math.Hypot(east, north); !(far <= c.cfg.Radius) {
		return fmt.Errorf("concert at %g,%g: %.0f m from the centre of a city of radius %.0f m", g.Lat, g.Lon, far, c.cfg.Radius)
	}
	c.stadium.x = int32(math.Round((east*c.axisE + north*c.axisN) / block))
	c.stadium.y = int32(math.Round((north*c.axisE - east*c.axisN) / block))
	return nil
}

// concert sets m to what a visitor of the concert does until the slot in which its usual
// life goes on, and returns false for other riders and later times.
func (c *City) concert(r *rider, at int64, m *motion) bool {
	h := draw(r.key, forConcert, 0)
	if r.line || unit(h) >= c.cfg.Concert.Share {
		return false
	}
	h = mix(h)
	late := unit(h)
	leaves := c.cfg.Concert.End.UnixMilli() + int64(late*late*exodus*1000)
	v := wayHome{motion: m, city: c, rider: r, key: h, until: float64(at-leaves) / 1000}
	v.plan(leaves)
	if at >= v.over {
		return false
	}
	v.run(leaves)
	return true
}

// wayHome is one rider's way from the concert to its usual life: on foot from the seat
// to the stadium's gate and on to a car park, then on wheels to a place of its own.
type wayHome struct {
	*motion
	city     *City
	rider    *rider
	key      uint64
	until    float64 // seconds since the rider left its seat
	clock    float64 // the same, at the start of the present part of the way
	seat     [2]float64
	park, to place
	slot     int64 // in which usual life goes on
	over     int64 // when, ms since 1970
	wheels   handset.Mode
}

// plan says where the rider goes and in which slot it is home: in the first that
// starts after it has come to where it would be then, red lights included.
func (v *wayHome) plan(leaves int64) {
	h, r, gate := v.key, v.rider, v.city.stadium
	far, turn := stadiumRadius*math.Sqrt(unit(h)), 2*math.Pi*unit(mix(h+1))
	v.seat[0], v.seat[1] = float64(gate.x)*block+far*math.Cos(turn), float64(gate.y)*block+far*math.Sin(turn)
	v.park.x = gate.x + int32(handset.Below(mix(h+2), 2*carPark+1)) - carPark
	v.park.y = gate.y + int32(handset.Below(mix(h+3), 2*carPark+1)) - carPark
	if v.wheels = r.mode; r.mode == handset.Walker {
		v.wheels = handset.Car
	}
	foot := &gaits[handset.Walker]
	longest := (stadiumRadius+blocksBetween(gate, v.park)*block)/foot.minSpeed + slack + queueing +
		(blocksBetween(v.park, r.home)+2*reach)*block/gaits[v.wheels].minSpeed + slack + queueing
	v.slot = (leaves+int64(longest*1000)+r.phase)/r.slot + 1
	v.over = v.slot*r.slot - r.phase
	v.to = r.place(v.slot)
}

func blocksBetween(a, b place) float64 {
	return math.Abs(float64(a.x-b.x)) + math.Abs(float64(a.y-b.y))
}

// run moves the rider, who left its seat at a time in ms, as far as it gets.
func (v *wayHome) run(leaves int64) {
	foot, gate := &gaits[handset.Walker], v.city.stadium
	v.slotStart, v.trip = math.MinInt64, noTrip
	v.x, v.y = v.seat[0], v.seat[1]
	if v.until < 0 {
		return
	}
	v.driving, v.onFoot = true, true
	dx, dy := float64(gate.x)*block-v.x, float64(gate.y)*block-v.y
	far := math.Hypot(dx, dy)
	if gone := v.until * foot.minSpeed; gone < far {
		v.x += dx * gone / far
		v.y += dy * gone / far
		v.speed, v.heading = foot.minSpeed, math.Atan2(dy, dx)*180/math.Pi
		return
	}
	v.clock = far / foot.minSpeed
	if !v.drive(handset.Walker, gate, v.park) {
		return
	}
	v.onFoot = false
	v.trip = v.slot - 1 // no other trip of the rider has this number: usual life begins with the next
	v.event, v.edge = "trip_start", leaves+handset.FirstAfter(v.clock)
	if v.drive(v.wheels, v.park, v.to) {
		v.driving = false
		v.event, v.edge = "trip_end", leaves+handset.FirstAfter(v.clock)
	}
}

// drive moves the rider from one place to another and reports whether it arrives.
func (v *wayHome) drive(mode handset.Mode, from, to place) (arrived bool) {
	v.x, v.y = float64(from.x)*block, float64(from.y)*block
	if from == to {
		return true
	}
	g := &gaits[mode]
	h := draw(v.key, forLeg, int64(g.apart))
	slot := blocksBetween(from, to)*block/g.minSpeed + latestStart + slotReserve + slack + queueing
	d := newDrive(mode, h, from, to, mix(h), slot)
	arrived = d.advance(v.until-v.clock, v.motion)
	v.clock += d.clock
	return arrived
}
