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
	"strconv"
	"time"

	"pingline"
)

// CityConfig says which city to simulate. The zero value takes every default.
type CityConfig struct {
	Seed     uint64        // two cities of one seed and centre are equal
	Riders   int           // phones there are to begin with; 0 means 10,000
	Lat, Lon float64       // centre, degrees, within 80 degrees of the equator; 0,0 means Porto
	Radius   float64       // metres; 0 means 8,000, at least 1,500
	Interval time.Duration // between the pings of one phone; 0 means 5 s, at least 1 ms
}

// City is a city of riders on the move. What a phone of it sends is a pure
// function of seed, phone and time: nothing is remembered, so that any moment
// of any rider can be asked for, in any order, and asked for again. Safe for
// concurrent use.
//
// The streets are a grid of blocks of 120 m, turned by an angle of the city's
// own. Every rider lives somewhere in it, more of them near the centre, and
// works between two stands some 1.7 km apart. Time is cut into slots of seven
// to nine minutes, each rider's its own: in a slot a rider waits, drives
// from one stand to the other (see drive) and waits there. Three drives in
// four carry a passenger: they are trips, and start and end with an event.
// For about two hours at a time a rider is parked instead, one in seven (the
// night cars) nine tenths of the time, the others a fifth of it.
//
// Receivers err as receivers do (see receiver): by metres, slowly changing,
// by more where they say so. A battery lasts ten to thirteen hours.
//
// One phone in fifty is a rider's second device: it moves with the phone
// before it, errs by itself, and has a device id.
type City struct {
	cfg         CityConfig
	key         uint64
	blocks      float64 // homes are within this of the centre along each street, in blocks
	axisE       float64 // the grid's first axis: metres east and north per metre
	axisN       float64
	axisHeading float64 // the same in degrees
	degLat      float64 // degrees per metre north and east
	degLon      float64
}

const (
	block      = 120.0 // metres between two crossings
	reach      = 10    // blocks between a rider's home and the farthest place
	metresADeg = 6371008.8 * math.Pi / 180
	minRadius  = 1500
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
	c := &City{cfg: cfg, key: mix(cfg.Seed + golden)}
	c.blocks = max(0, cfg.Radius/block-reach) * math.Sqrt2 / 2
	c.axisHeading = 90 * unit(mix(c.key))
	c.axisE, c.axisN = math.Sincos(c.axisHeading * math.Pi / 180)
	c.degLat = 1 / metresADeg
	c.degLon = 1 / (metresADeg * math.Cos(cfg.Lat*math.Pi/180))
	return c, nil
}

// Riders returns how many phones the city has to begin with. There is no last
// one: every phone from 0 on exists.
func (c *City) Riders() int { return c.cfg.Riders }

// Interval returns the time between two pings of a phone.
func (c *City) Interval() time.Duration { return c.cfg.Interval }

// owner returns the phone whose rider carries phone i too: i, or the one
// before if i is a second device.
func (c *City) owner(i int) int {
	if i&1 == 1 && c.draw(i, forDevice, 0)%25 == 0 {
		return i - 1
	}
	return i
}

// Name returns the rider and device ids of phone i; most have no device id.
func (c *City) Name(i int) (rider, device string) {
	who := c.owner(i)
	if who != i {
		device = "watch"
	}
	return fmt.Sprintf("r-%06d", who), device
}

// Ping returns what phone i sends at the time at, if the ping before was sent
// at since (ms since 1970).
func (c *City) Ping(i int, since, at int64) pingline.Ping {
	var p pingline.Ping
	p.Rider, p.Device = c.Name(i)
	c.Update(&p, i, since, at)
	return p
}

// Update sets all of p but its rider and device to what phone i sends at the
// time at. The ping carries an event if a trip of its rider started or ended
// after since; of several the last.
func (c *City) Update(p *pingline.Ping, i int, since, at int64) {
	who := c.owner(i)
	r := c.rider(who)
	m := r.at(at)
	p.Fix = pingline.Fix{At: at}
	c.receive(&p.Fix, i, &m)
	p.Event, p.Trip = "", ""
	if who != i {
		return // the rider's own phone tells about trips
	}
	edge, name := m.edge, m.event
	if m.event == "" && since < m.slotStart {
		before := r.at(m.slotStart - 1)
		edge, name = before.edge, before.event
		m.trip = before.trip
	}
	if name != "" && edge > since {
		p.Event = name
	}
	if m.driving && m.trip != noTrip || p.Event != "" {
		p.Trip = tripName(who, m.trip)
	}
}

func tripName(rider int, slot int64) string {
	var b [48]byte
	name := strconv.AppendInt(append(b[:0], "t-"...), int64(rider), 10)
	return string(strconv.AppendInt(append(name, '-'), slot, 10))
}

// What a draw is for: each use has numbers of its own.
const (
	forRider = iota + 1
	forDevice
	forPlace
	forParking
	forDrive
	forLeg
	forReceiver
	forJitter
)

const golden = 0x9e3779b97f4a7c15

// draw returns the n-th number of phone i for a use.
func (c *City) draw(i int, use, n int64) uint64 {
	return draw(mix(c.key+uint64(i)*golden), use, n)
}

func draw(key uint64, use, n int64) uint64 {
	return mix(key + uint64(use)*0xd1342543de82ef95 + uint64(n)*golden)
}

// mix is the finaliser of splitmix64: every bit of x changes half of the result.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// unit returns a number in [0, 1) made of the upper bits of h.
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }
