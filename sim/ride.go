package sim

import "math/bits"

// A drive, in metres and seconds.
const (
	accel     = 1.8 // m/s²; a car reaches maxSpeed and stops again within a block
	minSpeed  = 8.0 // cruising speed between two stops, m/s
	maxSpeed  = 14.0
	turnSpeed = 4.0

	latestStart = 30.0 // a drive starts this long into a slot, or earlier
	slotReserve = 20.0 // and ends this long before the slot's end, or earlier

	minSlot   = 420_000 // ms; the longest drive without a red light takes 360 s
	slotRange = 120_000
	shift     = 16 // slots in a row that a rider works, or is parked

	noTrip = -1
)

// place is a crossing of the grid, in blocks from the city's centre.
type place struct{ x, y int32 }

// rider is what stays the same about one rider.
type rider struct {
	key    uint64
	phase  int64 // ms: slots start at multiples of slot, less this
	slot   int64 // ms
	home   place
	stand  place  // the stands are at home ± this, 7 blocks away
	parked uint64 // share of shifts parked, of 256
}

// rider returns rider i.
func (c *City) rider(i int) rider {
	key := mix(c.key + uint64(i)*golden)
	h, g := draw(key, forRider, 0), draw(key, forRider, 1)
	r := rider{
		key:    key,
		phase:  int64(h & (1<<30 - 1)),
		slot:   minSlot + int64(h>>30&0xffff)*slotRange>>16,
		parked: 51,
	}
	if h>>46&1023 < 146 {
		r.parked = 230
	}
	// The sum of two draws is near its middle more often than not.
	r.home.x = int32(c.blocks * (float64(g&0xfff+g>>12&0xfff)/0x1000 - 1))
	r.home.y = int32(c.blocks * (float64(g>>24&0xfff+g>>36&0xfff)/0x1000 - 1))
	r.stand.x = int32(g>>48&0xff)*15>>8 - 7
	r.stand.y = 7 - max(r.stand.x, -r.stand.x)
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
	return place{
		r.home.x + side*r.stand.x + int32(h&0xffff)*5>>16 - 2,
		r.home.y + side*r.stand.y + int32(h>>16&0xffff)*5>>16 - 2,
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
	parked    bool
	slotStart int64  // ms since 1970
	trip      int64  // slot that names the trip, or noTrip
	event     string // the trip's edge passed last in this slot, if any
	edge      int64  // when, ms since 1970
}

// at returns what the rider does at a time (ms since 1970, not before).
func (r *rider) at(ms int64) motion {
	k := (ms + r.phase) / r.slot
	from, to := r.place(k), r.place(k+1)
	m := motion{slotStart: k*r.slot - r.phase, trip: noTrip}
	m.x, m.y = float64(from.x)*block, float64(from.y)*block
	m.parked = r.parkedIn(k) && from == to
	if from == to {
		return m
	}
	h := draw(r.key, forDrive, k)
	start := latestStart * float64(h&0xff) / 0x100
	gone := float64(ms-m.slotStart)/1000 - start
	if gone < 0 {
		return m
	}
	d := drive{motion: &m, key: draw(r.key, forLeg, k), left: gone}
	d.run(from, to, h>>8, float64(r.slot)/1000)
	m.driving = !d.arrived
	if h>>62 != 0 {
		m.trip = k
		m.edge, m.event = m.slotStart+int64(start*1000), "trip_start"
		if d.arrived {
			m.edge, m.event = ms-int64(d.left*1000), "trip_end"
		}
	}
	return m
}

// drive moves a rider from one place to another, along up to five straight
// legs. At a quarter of the crossings the light is red, as long as the slot
// lasts; at a corner the car slows down. Between two stops it speeds up to its
// cruising speed of the moment and slows down again.
type drive struct {
	*motion
	key     uint64  // of the legs' draws
	left    float64 // seconds still to drive; after arrival, seconds since
	spare   float64 // seconds that red lights may take
	speed   float64 // on entering the next stretch
	arrived bool
}

// run drives until the time is up or the way ends. shape draws the way.
func (d *drive) run(from, to place, shape uint64, slot float64) {
	dx, dy := to.x-from.x, to.y-from.y
	total := float64(max(dx, -dx) + max(dy, -dy))
	d.spare = slot - latestStart - slotReserve - total*block/minSpeed - 30
	long, cross := dx, dy
	if shape&1 != 0 {
		long, cross = dy, dx
	}
	l1 := part(long, shape>>1)
	l2 := part(long-l1, shape>>9)
	c1 := part(cross, shape>>17)
	legs := [5]int32{l1, c1, l2, cross - c1, long - l1 - l2}
	last := len(legs) - 1
	for last > 0 && legs[last] == 0 {
		last--
	}
	for i, n := range legs {
		if n != 0 && !d.leg(i, n, shape&1 != 0 != (i&1 != 0), i == last) {
			return
		}
	}
	d.arrived = true
	d.motion.speed = 0
}

// part returns a share of n, from none of it to nearly all.
func part(n int32, h uint64) int32 { return n * int32(h&0xff) / 0x100 }

// leg drives n blocks along one axis (backwards if n < 0) and reports whether
// time is left at its end.
func (d *drive) leg(i int, n int32, alongY, last bool) bool {
	h := draw(d.key, forLeg, int64(i))
	red := mix(h) & mix(h+1)
	dir := 1.0
	d.heading = 0
	if alongY {
		d.heading = 90
	}
	if n < 0 {
		n, dir = -n, -1
		d.heading += 180
	}
	for done := int32(0); done < n; {
		v := minSpeed + (maxSpeed-minSpeed)*unit(mix(h-1-uint64(done)))
		wait := 6 + 30*unit(mix(h+2+uint64(done)))
		blocks := min(n-done, int32(bits.TrailingZeros64(red>>done))+1)
		done += blocks
		arrive, cost := last && done == n, wait+maxSpeed/accel
		stop := red>>(done-1)&1 != 0 && !arrive && d.spare > cost
		exit := minSpeed
		switch {
		case stop || arrive:
			exit = 0
		case done == n:
			exit = turnSpeed
		}
		if !d.stretch(float64(blocks)*block, v, exit, dir, alongY) {
			return false
		}
		if stop {
			d.spare -= cost
			if d.motion.speed = 0; d.left < wait {
				return false
			}
			d.left -= wait
		}
	}
	return true
}

// stretch drives length metres, at speed v between an entry and an exit at
// other speeds, and reports whether time is left at its end.
func (d *drive) stretch(length, v, exit, dir float64, alongY bool) bool {
	entry := d.speed
	up, down := (v-entry)/accel, (v-exit)/accel
	upLength, downLength := (v+entry)/2*up, (v+exit)/2*down
	even := (length - upLength - downLength) / v
	var gone float64
	t := d.left
	switch {
	case t >= up+even+down:
		gone = length
		d.speed = exit
		d.left -= up + even + down
	case t < up:
		d.motion.speed = entry + accel*t
		gone = (entry + d.motion.speed) / 2 * t
	case t < up+even:
		d.motion.speed = v
		gone = upLength + v*(t-up)
	default:
		rest := up + even + down - t
		d.motion.speed = exit + accel*rest
		gone = length - (exit+d.motion.speed)/2*rest
	}
	if alongY {
		d.y += dir * gone
	} else {
		d.x += dir * gone
	}
	return t >= up+even+down
}
