// Package sim makes the traffic of a fleet: a City of riders, and a Load that sends
// their pings to an ingester over HTTP and has the answers written down.
//
// The package promises that a city is a pure function of its seed, and that a load
// obeys every answer as a phone must. It shares no code with the ingester, so that
// the two cannot be wrong together. It does not promise that its riders obey the
// traffic rules.
package sim

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"pingline"
	"pingline/sim/handset"
)

// CityConfig says which city to simulate. The zero value takes every default.
type CityConfig struct {
	Seed     uint64        // two cities of one seed and centre are equal
	Riders   int           // phones there are to begin with; 0 means 10,000
	Lat, Lon float64       // centre, degrees, within 80 degrees of the equator; 0,0 means Porto
	Radius   float64       // metres; 0 means 8,000, at least 1,500
	Interval time.Duration // between the pings of one phone; 0 means 5 s, at least 1 ms
	Mix      handset.Mix   // how the riders get about; the zero value means by car
	Cover    bool          // there are tunnels and buildings, where fixes are lost or poor
	Concert  Concert       // the zero value means none
}

// City is a city of riders on the move. What a phone of it sends is a pure
// function of seed, phone and time, so that any moment of any rider can be asked
// for, in any order, and asked for again. How far each of the first million riders
// has come in its slot is remembered, as the moments of a rider are mostly asked for
// in order: that spares time, and changes nothing. Safe for concurrent use.
//
// The streets are a grid of blocks of 120 m, turned by an angle of the city's
// own. Every rider lives somewhere in it, more of them near the centre, and
// works between two stands, some 2 km apart for a car, 1 km for a courier, 500 m
// for a walker. Time is cut into slots of eight to sixteen minutes, each rider's
// its own: in a slot a rider waits, drives from one stand to the other (see
// drive) and waits there. A bus drives the same line in every slot, and stops on
// the way. Three drives in four carry a passenger, a parcel or a purpose: they are
// trips, and start and end with an event. For about two hours at a time a rider is
// parked instead, one in seven (the night cars) nine tenths of the time, the others
// a tenth of it.
type City struct {
	cfg         CityConfig
	phones      *handset.Handsets
	chart       handset.Chart
	blocks      float64 // homes are within this of the centre along each street, in blocks
	axisE       float64 // the grid's first axis: metres east and north per metre
	axisN       float64
	axisHeading float64 // the same in degrees
	stadium     place   // of the concert
	slots       handset.Memory[citySlot]
}

const (
	block     = 120.0 // metres between two crossings
	reach     = 11    // blocks between a rider's home and the farthest place
	minRadius = 1500
)

// NewCity returns a city, or an error if cfg describes none.
func NewCity(cfg CityConfig) (*City, error) {
	cfg.Riders = cmp.Or(cfg.Riders, 10_000)
	cfg.Radius = cmp.Or(cfg.Radius, 8000)
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	if cfg.Lat == 0 && cfg.Lon == 0 {
		cfg.Lat, cfg.Lon = 41.1579, -8.6291
	}
	switch {
	case cfg.Riders < 0:
		return nil, fmt.Errorf("city of %d riders: not positive", cfg.Riders)
	case !(cfg.Radius >= minRadius && cfg.Radius <= 1e5):
		return nil, fmt.Errorf("city of radius %g m: not in [%d, 100000]", cfg.Radius, minRadius)
	case !(math.Abs(cfg.Lat) <= 80 && math.Abs(cfg.Lon) <= 180):
		return nil, fmt.Errorf("city at %g,%g: not within 80 degrees of the equator", cfg.Lat, cfg.Lon)
	case cfg.Interval < time.Millisecond:
		return nil, fmt.Errorf("city with a ping every %v: less than 1 ms", cfg.Interval)
	}
	phones, err := handset.New(handset.Config{Seed: cfg.Seed, Mix: cfg.Mix})
	if err != nil {
		return nil, fmt.Errorf("city: %w", err)
	}
	c := &City{cfg: cfg, phones: phones, chart: handset.NewChart(cfg.Lat, cfg.Lon)}
	c.blocks = max(0, cfg.Radius/block-reach) * math.Sqrt2 / 2
	c.axisHeading = 90 * unit(mix(phones.Key()))
	c.axisE, c.axisN = math.Sincos(c.axisHeading * math.Pi / 180)
	return c, c.openStadium()
}

// Riders returns how many phones the city has to begin with. There is no last
// one: every phone from 0 on exists.
func (c *City) Riders() int { return c.cfg.Riders }

// Interval returns the time between two pings of a phone.
func (c *City) Interval() time.Duration { return c.cfg.Interval }

// Name returns the rider and device ids of phone i; most have no device id.
func (c *City) Name(i int) (rider, device string) { return c.phones.Name(i) }

// Ping returns what phone i sends at the time at, if it has a fix and the ping
// before was sent at since (ms since 1970).
func (c *City) Ping(i int, since, at int64) pingline.Ping {
	var p pingline.Ping
	p.Rider, p.Device = c.Name(i)
	c.Update(&p, i, since, at)
	return p
}

// Update sets all of p but its rider and device to what phone i sends at the
// time at, and reports whether it has a fix to send: if not, p is not to be used.
// The ping carries an event if a trip of its rider started or ended after since;
// of several the last. A name that p.Trip has already is not made again, so that a
// caller who passes the trip of the phone's last ping spares an allocation.
func (c *City) Update(p *pingline.Ping, i int, since, at int64) bool {
	return c.phones.Update(c, &c.chart, p, i, since, at)
}

// Scene returns what rider i does at a time, ms since 1970: the truth that its phone
// errs about. The rider of a second device is the phone before it.
func (c *City) Scene(i int, at int64) handset.Scene {
	var m motion
	kept := c.slots.Take(i)
	if kept == nil {
		c.follow(new(citySlot), i, at, &m)
	} else {
		c.follow(&kept.Of, i, at, &m)
		kept.Put()
	}
	return handset.Scene{
		Motion: c.body(&m), Since: m.slotStart,
		Trip: m.trip, OnTrip: m.driving && m.trip != noTrip, Event: m.event, Edge: m.edge,
	}
}

// follow sets m to what a rider does at a time (ms since 1970). k is the slot of the rider
// at another time, or a zero one, and is set to that of its usual life at this time.
func (c *City) follow(k *citySlot, who int, at int64, m *motion) {
	if !k.has(at) {
		r := c.rider(who)
		if c.cfg.Concert.Share > 0 && c.concert(&r, at, m) {
			return
		}
		k.plan(&r, at)
	}
	k.at(at, m)
}

// body returns a motion on the grid as one on the map.
func (c *City) body(m *motion) handset.Motion {
	return handset.Motion{
		East:  m.x*c.axisE - m.y*c.axisN,
		North: m.x*c.axisN + m.y*c.axisE,
		Speed: m.speed,
		// The grid's second axis is to the left of the first.
		Heading: c.axisHeading - m.heading,
		Sky:     c.sky(m),
	}
}

// Uses of draws: each has numbers of its own.
const (
	forRider = iota + handset.OtherUse
	forPlace
	forParking
	forDrive
	forLeg
	forStreet
	forConcert
)

const golden = 0x9e3779b97f4a7c15

func draw(key uint64, use, n int64) uint64 { return handset.Draw(key, use, n) }
func mix(x uint64) uint64                  { return handset.Scramble(x) }
func unit(h uint64) float64                { return handset.Unit(h) }
