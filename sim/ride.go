package sim

import (
	"math/bits"

	"pingline/sim/handset"
)

// gait is how riders of one mode get about, in metres and seconds. A rider speeds up
// to maxSpeed and stops again within a block.
type gait struct {
	accel     float64 // m/s²
	slowness  float64 // 1 / accel
	fromTop   float64 // seconds in which a rider stops from maxSpeed
	paces     [16]pace
	minSpeed  float64 // mean speeds between two stops, m/s
	meanMost  float64
	maxSpeed  float64 // m/s, for a moment between two stops
	sway      float64 // most that traffic adds to a mean speed, or takes from it
	turnSpeed float64
	minSlot   int64 // ms; the longest way without a red light takes 50 s less, or more
	slotRange int64
	apart     int32 // blocks from home to each of two stands
	scatter   int32 // blocks from a stand to a place near it, along each axis
	line      bool  // the same way there and back in every slot, with stops on it
	indoors   bool  // where a rider waits
}

var gaits = withPaces([handset.Modes]gait{
	handset.Car: {
		accel: 1.8, minSpeed: 8, meanMost: 12, maxSpeed: 14, sway: 5, turnSpeed: 4,
		minSlot: 480_000, slotRange: 60_000, apart: 9, scatter: 2,
	},
	handset.Courier: {
		accel: 1.2, minSpeed: 4, meanMost: 6, maxSpeed: 7.5, sway: 2, turnSpeed: 2.5,
		minSlot: 540_000, slotRange: 60_000, apart: 4, scatter: 2, indoors: true,
	},
	handset.Walker: {
		accel: 1, minSpeed: 1.2, meanMost: 1.6, maxSpeed: 1.9, sway: 0.4, turnSpeed: 1,
		minSlot: 860_000, slotRange: 120_000, apart: 2, scatter: 1, indoors: true,
	},
	handset.Bus: {
		accel: 1.2, minSpeed: 8, meanMost: 10, maxSpeed: 12, sway: 4, turnSpeed: 4,
		minSlot: 600_000, slotRange: 60_000, apart: 9, line: true,
	},
})

// pace is one of the mean speeds of a gait.
type pace struct {
	v       float64 // m/s
	inverse float64 // 1 / v
	half    float64 // inverse / 2
}

func withPaces(all [handset.Modes]gait) [handset.Modes]gait {
	for i := range all {
		g := &all[i]
		g.slowness, g.fromTop = 1/g.accel, g.maxSpeed/g.accel
		for k := range g.paces {
			v := g.minSpeed + (g.meanMost-g.minSpeed)*(float64(k)+0.5)/float64(len(g.paces))
			g.paces[k] = pace{v, 1 / v, 0.5 / v}
		}
	}
	return all
}

const (
	latestStart = 30.0 // a drive starts this long into a slot, or earlier
	slotReserve = 20.0 // and ends this long before the slot's end, or earlier
	slack       = 30.0 // a drive takes no longer than this beyond its way at minSpeed and its red lights
	shift       = 16   // slots in a row that a rider works, or is parked

	// swayPeak makes the largest of t(1-t)(1-2t), for t in [0, 1], 1.
	swayPeak = 10.392304845413264

	stir     = 0xd1342543de82ef95 // odd, and without a pattern
	busStops = 0x4924924924924924 // every third crossing

	noTrip = -1
)

// place is a crossing of the grid, in blocks from the city's centre.
type place struct{ x, y int32 }

// rider has the constants of a rider.
type rider struct {
	*gait
	mode   handset.Mode
	key    uint64
	phase  int64 // ms: slots start at multiples of slot, less this
	slot   int64 // ms
	home   place
	stand  place  // the stands are at home ± this
	parked uint64 // share of shifts parked, of 256
}

// rider returns rider i.
func (c *City) rider(i int) rider {
	key := c.phones.KeyOf(i)
	h, g := draw(key, forRider, 0), draw(key, forRider, 1)
	mode := c.phones.ModeOf(i)
	gait := &gaits[mode]
	r := rider{
		gait:   gait,
		mode:   mode,
		key:    key,
		phase:  int64(h & (1<<30 - 1)),
		slot:   gait.minSlot + int64(h>>30&0xffff)*gait.slotRange>>16,
		parked: 26,
	}
	if h>>46&1023 < 146 {
		r.parked = 230
	}
	// The sum of two draws is near its middle more often than not.
	r.home.x = int32(c.blocks * (float64(g&0xfff+g>>12&0xfff)/0x1000 - 1))
	r.home.y = int32(c.blocks * (float64(g>>24&0xfff+g>>36&0xfff)/0x1000 - 1))
	r.stand.x = int32(g>>48&0xff)*(2*gait.apart+1)>>8 - gait.apart
	r.stand.y = gait.apart - max(r.stand.x, -r.stand.x)
	if g>>63 != 0 {
		r.stand.y = -r.stand.y
	}
	return r
}

// place returns where the rider is at the start of slot k: near one stand, and
// at the other one slot later; or where it was when it parked.
func (r *rider) place(k int64) place {
	if r.parkedIn(k) {
		k &^= shift - 1
	}
	h := draw(r.key, forPlace, k)
	side := int32(1 - 2*(k&1))
	width := 2*r.scatter + 1
	return place{
		r.home.x + side*r.stand.x + int32(h&0xffff)*width>>16 - r.scatter,
		r.home.y + side*r.stand.y + int32(h>>16&0xffff)*width>>16 - r.scatter,
	}
}

// parkedIn reports whether the rider is parked in the shift of slot k. It
// leaves in the last slot, for where the next one starts.
func (r *rider) parkedIn(k int64) bool {
	return draw(r.key, forParking, k/shift)&255 < r.parked
}

// motion is where a rider is and what it does there.
type motion struct {
	x, y      float64 // metres along the grid's axes
	speed     float64 // m/s
	heading   float64 // degrees from the grid's first axis, if speed > 0
	driving   bool    // between start and end of a drive, red lights included
	onFoot    bool
	parked    bool
	indoors   bool   // while it waits
	slotStart int64  // ms since 1970
	trip      int64  // slot that names the trip, or noTrip
	event     string // the trip's edge passed last in this slot, if any
	edge      int64  // when, ms since 1970
}

// citySlot is a rider's time in one slot, and how far its drive was looked at.
type citySlot struct {
	begins, ends int64 // of the slot, ms since 1970
	start        float64
	trip         int64 // slot that names the trip, or noTrip
	stands       bool  // all the time: there is no drive
	parked       bool
	drive
}

// plan sets k to that of the slot of a time (ms since 1970, not before).
func (k *citySlot) plan(r *rider, ms int64) {
	slot := (ms + r.phase) / r.slot
	from, to := r.place(slot), r.place(slot+1)
	*k = citySlot{begins: slot*r.slot - r.phase, trip: noTrip, stands: from == to, parked: from == to && r.parkedIn(slot)}
	k.ends = k.begins + r.slot
	k.mode, k.x, k.y = r.mode, float64(from.x)*block, float64(from.y)*block
	if k.stands {
		return
	}
	h := draw(r.key, forDrive, slot)
	k.start = latestStart * float64(h&0xff) / 0x100
	if h>>62 != 0 {
		k.trip = slot
	}
	shape := h >> 8
	if r.line {
		shape = draw(r.key, forDrive, -1-slot&1)
	}
	k.drive = newDrive(r.mode, draw(r.key, forLeg, slot), from, to, shape, float64(r.slot)/1000)
}

// has reports whether k is of a time, and of one that its drive has not passed.
func (k *citySlot) has(ms int64) bool {
	return ms >= k.begins && ms < k.ends && (k.clock == 0 || float64(ms-k.begins)/1000-k.start >= k.clock)
}

// at sets m, which is zero, to what the rider does at a time that k has.
func (k *citySlot) at(ms int64, m *motion) {
	m.x, m.y, m.slotStart, m.trip = k.x, k.y, k.begins, noTrip
	m.parked, m.indoors, m.onFoot = k.parked, gaits[k.mode].indoors, k.mode == handset.Walker
	gone := float64(ms-k.begins)/1000 - k.start
	if k.stands || gone < 0 {
		return
	}
	arrived := k.advance(gone, m)
	m.driving = !arrived
	if k.trip != noTrip {
		m.trip = k.trip
		m.edge, m.event = k.begins+handset.FirstAfter(k.start), "trip_start"
		if arrived {
			m.edge, m.event = k.begins+handset.FirstAfter(k.start+k.clock), "trip_end"
		}
	}
}

// drive moves a rider from one place to another, along up to five straight
// legs. At three in eight crossings the light is red, as long as the slot
// lasts; at a corner the rider slows down. Between two stops it speeds up to
// its mean speed there, is faster than that for a while and slower for another,
// as traffic goes, and slows down again.
//
// It stands at the start of the stretch that it was last asked for, and goes on from
// there: it cannot go back.
type drive struct {
	key    uint64 // of the legs' draws
	mode   handset.Mode
	alongY bool // the first leg, and every other
	leg    int8 // that it is on; beyond last once it has arrived
	last   int8
	legs   [5]int16 // blocks; backwards if negative
	done   int16    // blocks of the leg
	x, y   float64  // where the leg begins, metres along the grid's axes
	clock  float64  // seconds since its start
	spare  float64  // seconds that red lights may take
	speed  float64  // on entering the stretch
}

// newDrive returns a drive that begins. shape draws the way.
func newDrive(mode handset.Mode, key uint64, from, to place, shape uint64, slot float64) drive {
	dx, dy := to.x-from.x, to.y-from.y
	total := float64(max(dx, -dx) + max(dy, -dy))
	long, cross := dx, dy
	if shape&1 != 0 {
		long, cross = dy, dx
	}
	l1 := part(long, shape>>1)
	l2 := part(long-l1, shape>>9)
	c1 := part(cross, shape>>17)
	d := drive{
		key: key, mode: mode, alongY: shape&1 != 0, last: 4,
		legs: [5]int16{int16(l1), int16(c1), int16(l2), int16(cross - c1), int16(long - l1 - l2)},
		x:    float64(from.x) * block, y: float64(from.y) * block,
		spare: slot - latestStart - slotReserve - total*block/gaits[mode].minSpeed - slack,
	}
	for d.last > 0 && d.legs[d.last] == 0 {
		d.last--
	}
	return d
}

// part returns a share of n, from none of it to nearly all.
func part(n int32, h uint64) int32 { return n * int32(h&0xff) / 0x100 }

// advance drives until so many seconds after the start, or until the way ends, sets m to
// where that is, and reports whether it is the end.
func (d *drive) advance(until float64, m *motion) (arrived bool) {
	for ; d.leg <= d.last; d.leg++ {
		if d.legs[d.leg] != 0 && !d.along(until, m) {
			return false
		}
	}
	m.x, m.y, m.speed = d.x, d.y, 0
	return true
}

// along drives the rest of a leg and reports whether time is left at its end.
func (d *drive) along(until float64, m *motion) bool {
	g := &gaits[d.mode]
	h := draw(d.key, forLeg, int64(d.leg))
	red := h & (bits.RotateLeft64(h, 21) | bits.RotateLeft64(h, 42))
	if g.line {
		red |= busStops
	}
	n, dir, last := int32(d.legs[d.leg]), block, d.leg == d.last
	m.x, m.y, m.heading = d.x, d.y, 0
	began, axis := &d.x, &m.x
	if d.alongY != (d.leg&1 != 0) {
		began, axis, m.heading = &d.y, &m.y, 90
	}
	if n < 0 {
		n, dir = -n, -block
		m.heading += 180
	}
	clock, entry := d.clock, d.speed
	for done := int32(d.done); done < n; {
		draw := (h + uint64(done)) * stir
		p := &g.paces[draw>>60]
		blocks := min(n-done, int32(bits.TrailingZeros64(red>>done))+1)
		wait := 6 + 30*float64(draw>>28&(1<<32-1))/(1<<32)
		at := done + blocks
		arrive, cost := last && at == n, wait+g.fromTop
		stop := red>>(at-1)&1 != 0 && !arrive && d.spare > cost
		exit := g.minSpeed
		switch {
		case stop || arrive:
			exit = 0
		case at == n:
			exit = g.turnSpeed
		}
		length := float64(blocks) * block
		took := ((p.v - entry) + (p.v - exit) + (entry*entry+exit*exit)*p.half - p.v) * g.slowness
		took += length * p.inverse
		over := clock + took
		if until < over {
			var gone float64
			gone, m.speed = g.stretch(until-clock, length, p, entry, exit, draw&1 != 0)
			*axis += dir * (float64(done) + gone/block)
		} else if stop {
			if over += wait; until < over {
				*axis += dir * float64(at)
				m.speed = 0
			}
		}
		if until < over {
			d.clock, d.speed, d.done = clock, entry, int16(done)
			return false
		}
		if stop {
			d.spare -= cost
		}
		clock, entry, done = over, exit, at
	}
	*began += dir * float64(n)
	d.clock, d.speed, d.done = clock, entry, 0
	return true
}

// stretch drives for t seconds, which are less than it takes to drive length metres at
// the mean speed of a pace, between an entry and an exit at other speeds. It returns
// how far that is, and the speed there.
func (g *gait) stretch(t, length float64, p *pace, entry, exit float64, fastFirst bool) (gone, speed float64) {
	up, down := (p.v-entry)*g.slowness, (p.v-exit)*g.slowness
	upLength, downLength := (p.v+entry)/2*up, (p.v+exit)/2*down
	even := (length - upLength - downLength) * p.inverse
	switch {
	case t < up:
		speed = entry + g.accel*t
		return (entry + speed) / 2 * t, speed
	case t < up+even:
		w := min(g.sway, g.maxSpeed-p.v, g.accel*even/swayPeak)
		if !fastFirst {
			w = -w
		}
		s := (t - up) / even
		q := swayPeak * s * (1 - s)
		return upLength + p.v*(t-up) + w*even*q*s*(1-s)/2, p.v + w*q*(1-2*s)
	}
	rest := max(0, up+even+down-t)
	speed = exit + g.accel*rest
	return length - (exit+speed)/2*rest, speed
}
