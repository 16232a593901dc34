package roads

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/sim/handset"
)

// TownConfig says which town to simulate. Network is required.
type TownConfig struct {
	Network  *Network
	Seed     uint64
	Riders   int           // phones there are to begin with; 0 means 10,000
	Interval time.Duration // between the pings of one phone; 0 means 5 s, at least 1 ms
	Mix      handset.Mix   // how the riders get about; the zero value means by car
	Cover    bool          // fixes are lost in the tunnels of the network, and poor in houses
}

// Town is a town of riders on the shortest ways of a network. What a phone of it sends
// is a pure function of seed, phone and time; as in a sim.City, how far each of the first
// million riders has come is remembered, which changes nothing. Safe for concurrent use.
//
// The places that riders go to stand in quarters: eight for cars within 2.5 km of a
// vertex, fewer and nearer for others, two for a bus; half of them on one side of the
// vertex. Every rider lives in a quarter. Time is cut into slots, each rider's its own:
// in a slot it goes from a place of one side to one of the other and waits there until
// the next. The ways between the places of a quarter are found once, at the start, and
// shared by its riders, so that they take no more of a town of a million riders than of one
// of twenty thousand. Riders of one way have speeds and red lights of their own.
type Town struct {
	cfg    TownConfig
	phones *handset.Handsets
	modes  [handset.Modes][]quarter
	slots  handset.Memory[townSlot] // changes nothing but the time that it takes
}

// quarter is places on two sides, and the ways from each to those of the other side.
type quarter struct {
	places [2]int
	routes [2][]route // of a side: from place a to place b of the other is a*places+b
	slot   int64      // ms: a drive and its waits take less
}

const (
	mostQuarters  = 64  // of a mode: their ways have to fit into the cache of a processor
	ridersQuarter = 128 // a smaller town has fewer quarters: one for so many riders

	latestStart = 30.0 // seconds into a slot at which a drive starts, at most
	reserve     = 10.0 // seconds before the end of a slot at which it is over, at least
	slotRange   = 45_000
	shift       = 15 // slots in a row that a rider works, or is parked: odd, for it comes from one side and leaves for it

	noTrip = -1
)

// Uses of draws.
const (
	forRider = iota + handset.OtherUse
	forQuarter
	forPlace
	forParking
	forDrive
	forWait
	forMiddle
	forWays
)

// NewTown finds the ways of a town, on all processors.
func NewTown(ctx context.Context, cfg TownConfig) (*Town, error) {
	cfg.Riders = cmp.Or(cfg.Riders, 10_000)
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	switch {
	case cfg.Network == nil:
		return nil, fmt.Errorf("town without a network")
	case cfg.Riders < 0:
		return nil, fmt.Errorf("town of %d riders: not positive", cfg.Riders)
	case cfg.Interval < time.Millisecond:
		return nil, fmt.Errorf("town with a ping every %v: less than 1 ms", cfg.Interval)
	}
	phones, err := handset.New(handset.Config{Seed: cfg.Seed, Mix: cfg.Mix})
	if err != nil {
		return nil, fmt.Errorf("town: %w", err)
	}
	t := &Town{cfg: cfg, phones: phones}
	for mode := range handset.Modes {
		if !phones.Has(mode) {
			continue
		}
		if err := t.settle(ctx, mode); err != nil {
			return nil, fmt.Errorf("town: %w", err)
		}
	}
	return t, nil
}

// settle finds the quarters of a mode.
func (t *Town) settle(ctx context.Context, mode handset.Mode) error {
	net, g := t.cfg.Network, &gears[mode]
	core := net.core(g.open)
	if len(core) < 2 {
		return fmt.Errorf("the network has no ways for the mode %v", mode)
	}
	quarters := make([]quarter, min(max(t.cfg.Riders/ridersQuarter, 8), mostQuarters))
	workers := runtime.GOMAXPROCS(0)
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		group.Go(func() error {
			r := newRouter(net, g.open)
			for n := w; n < len(quarters); n += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if !t.explore(&quarters[n], r, mode, core, int64(n)) {
					return fmt.Errorf("the network has no two places for the mode %v near each other", mode)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	t.modes[mode] = quarters
	return err
}

// explore chooses the places of the n-th quarter and finds the ways between them. It
// reports whether there are two.
func (t *Town) explore(q *quarter, r *router, mode handset.Mode, core []uint32, n int64) bool {
	const tries = 16
	g := &gears[mode]
	limit := float32(g.reach)
	if r.byTime {
		limit /= 10
	}
	key := t.phones.Key() + uint64(mode)
	for try := range int64(tries) {
		middle := core[handset.Below(handset.Draw(key, forMiddle, n*tries+try), len(core))]
		sides := r.net.choose(r.spread(middle, limit, nil), g.places, handset.Draw(key, forPlace, n*tries+try))
		if q.connect(r, g, sides, handset.Draw(key, forWays, 0)) {
			return true
		}
	}
	return false
}

// choose draws places among vertices, the nearest first, of which it leaves out the
// nearest third: on two sides of the first, in turn.
func (n *Network) choose(near []uint32, most int, key uint64) (sides [2][]uint32) {
	far, middle := near[len(near)/3:], n.at[near[0]]
	north, east := math.Sincos(2 * math.Pi * handset.Unit(key))
	for try := range int64(8 * most) {
		v := far[handset.Below(handset.Draw(key, forPlace, try), len(far))]
		side := &sides[0]
		if float64(n.at[v].east-middle.east)*east+float64(n.at[v].north-middle.north)*north < 0 {
			side = &sides[1]
		}
		if v != near[0] && len(*side) < most/2 && !slices.Contains(*side, v) {
			*side = append(*side, v)
		}
	}
	return sides
}

// connect finds the ways between the places of two sides, and how long a slot has to be.
// A place from which there is no way to all of the other side is left out.
func (q *quarter) connect(r *router, g *gear, sides [2][]uint32, key uint64) bool {
	far := float32(4 * g.reach)
	ways := make(map[[2]uint32][]uint32)
	for lost := true; lost; {
		lost = false
		for side := range sides {
			other := sides[1-side]
			sides[side] = slices.DeleteFunc(sides[side], func(from uint32) bool {
				r.spread(from, far, other)
				for _, to := range other {
					way := r.way(from, to)
					if len(way) == 0 {
						lost = true
						return true
					}
					ways[[2]uint32{from, to}] = way
				}
				return false
			})
		}
	}
	if len(sides[0]) == 0 || len(sides[1]) == 0 {
		return false
	}
	longest := 0.0
	for side, from := range sides {
		for _, a := range from {
			for _, b := range sides[1-side] {
				way := r.net.trace(g, key, a, ways[[2]uint32{a, b}])
				q.routes[side] = append(q.routes[side], *way)
				longest = max(longest, way.longest())
			}
		}
		q.places[side] = len(from)
	}
	q.slot = int64((latestStart + longest + reserve) * 1000)
	return true
}

// Riders returns how many phones the town has to begin with.
func (t *Town) Riders() int { return t.cfg.Riders }

// Interval returns the time between two pings of a phone.
func (t *Town) Interval() time.Duration { return t.cfg.Interval }

// Name returns the rider and device ids of phone i; most have no device id.
func (t *Town) Name(i int) (rider, device string) { return t.phones.Name(i) }

// Update sets all of p but its rider and device to what phone i sends at the time at,
// and reports whether it has a fix to send: see handset.Handsets.
func (t *Town) Update(p *pingline.Ping, i int, since, at int64) bool {
	return t.phones.Update(t, &t.cfg.Network.chart, p, i, since, at)
}

// Scene returns what rider i does at a time, ms since 1970.
func (t *Town) Scene(i int, at int64) handset.Scene {
	s := handset.Scene{Trip: noTrip}
	kept := t.slots.Take(i)
	if kept == nil {
		t.follow(new(townSlot), i, at, &s)
	} else {
		t.follow(&kept.Of, i, at, &s)
		kept.Put()
	}
	return s
}

// follow sets s to what rider i does at a time. k is the slot of the rider at another time,
// or a zero one, and is set to that at this time.
func (t *Town) follow(k *townSlot, i int, at int64, s *handset.Scene) {
	if !k.has(at) {
		t.plan(k, i, at)
	}
	k.at(t, at, s)
}

// townSlot is a rider's time in one slot, and how far its drive was looked at.
type townSlot struct {
	begins, ends int64 // of the slot, ms since 1970
	start        float64
	trip         int64 // slot that names the trip, or noTrip
	mode         handset.Mode
	rests        bool // it is parked, or leaves where it was
	stands       bool // all the time: there is no drive
	passage
}

// plan sets k to that of rider i at a time.
func (t *Town) plan(k *townSlot, i int, at int64) {
	key, mode := t.phones.KeyOf(i), t.phones.ModeOf(i)
	quarters := t.modes[mode]
	q := &quarters[handset.Below(handset.Draw(key, forQuarter, 0), len(quarters))]
	h := handset.Draw(key, forRider, 0)
	length := q.slot + int64(h>>30&0xffff)*slotRange>>16
	phase := int64(h & (1<<30 - 1))
	slot := (at + phase) / length
	parked := uint64(26)
	if h>>46&1023 < 146 { // a night car
		parked = 230
	}
	from, to := slot, slot+1
	rests := parkedIn(key, from, parked)
	if rests {
		from -= from % shift
	}
	if parkedIn(key, to, parked) {
		to -= to % shift
	}
	h = handset.Draw(key, forDrive, slot)
	*k = townSlot{
		begins: slot*length - phase, start: latestStart * float64(h&0xff) / 0x100, trip: noTrip,
		mode: mode, rests: rests, stands: from == to,
		passage: newPassage(q.route(key, from, to), handset.Draw(key, forWait, slot), slowest+(1-slowest)*float64(h>>8&0xff)/0x100),
	}
	k.ends = k.begins + length
	if h>>62 != 0 {
		k.trip = slot
	}
}

// has reports whether k is of a time, and of one that its drive has not passed.
func (k *townSlot) has(ms int64) bool {
	return ms >= k.begins && ms < k.ends && (k.clock == 0 || float64(ms-k.begins)/1000-k.start >= k.clock)
}

// at sets s, which is zero but for its trip, to what the rider does at a time that k has.
func (k *townSlot) at(t *Town, ms int64, s *handset.Scene) {
	s.Since = k.begins
	if k.stands {
		s.East, s.North = float64(k.route.start.east), float64(k.route.start.north)
		t.cover(&s.Motion, k.mode, k.rests)
		return
	}
	until := float64(ms-k.begins)/1000 - k.start
	arrived := k.advance(until, &s.Motion)
	if until < 0 || arrived {
		t.cover(&s.Motion, k.mode, false)
	} else if !t.cfg.Cover || k.mode == handset.Walker {
		s.Sky = handset.Open
	}
	if k.trip != noTrip && until >= 0 {
		s.Trip, s.OnTrip = k.trip, !arrived
		s.Event, s.Edge = "trip_start", k.begins+handset.FirstAfter(k.start)
		if arrived {
			s.Event, s.Edge = "trip_end", k.begins+handset.FirstAfter(k.start+k.took())
		}
	}
}

// route returns the way from where a rider is at the start of one slot to where it is at
// the start of another: a slot of an even number starts on the first side. Of a way from a
// slot to itself only the start is of use.
func (q *quarter) route(key uint64, from, to int64) *route {
	if from == to {
		to++
	}
	side := from & 1
	a := handset.Below(handset.Draw(key, forPlace, from), q.places[side])
	b := handset.Below(handset.Draw(key, forPlace, to), q.places[1-side])
	return &q.routes[side][a*q.places[1-side]+b]
}

// parkedIn reports whether a rider is parked in the shift of slot k, where it was at the
// start of the shift. It leaves in the last slot, for where the next one starts.
func parkedIn(key uint64, k int64, parked uint64) bool {
	return handset.Draw(key, forParking, k/shift)&255 < parked
}

// cover sets what one who does not drive sees of the sky.
func (t *Town) cover(m *handset.Motion, mode handset.Mode, parked bool) {
	switch {
	case t.cfg.Cover && (parked || gears[mode].indoors):
		m.Sky = handset.Indoors
	case parked:
		m.Sky = handset.Parked
	default:
		m.Sky = handset.Open
	}
}

// passage is one rider on a route. It is as far as it was last asked for, and goes on from
// there: it cannot go back.
type passage struct {
	*route
	key    uint64  // of the draws of its waits
	pace   float64 // in [slowest, 1] of the route's speeds
	slow   float64 // 1 / pace
	clock  float64 // seconds since the start, at the end of its last wait
	waited float64 // seconds
	spare  float64 // seconds that traffic lights may still take
	stop   int32   // of the route: the next one
	knot   int32   // of the route: near that where it is
}

func newPassage(r *route, key uint64, pace float64) passage {
	return passage{route: r, key: key, pace: pace, slow: 1 / pace, spare: r.red}
}

// advance sets m to where the rider is so many seconds after the start, and reports whether
// that is the end. Half of the traffic lights are green: it looks at those and drives on.
func (d *passage) advance(until float64, m *handset.Motion) (arrived bool) {
	for int(d.stop) < len(d.stops) {
		s := &d.stops[d.stop]
		there := float64(s.at)*d.slow + d.waited
		if until < there {
			break
		}
		wait := d.wait(s)
		if until < there+wait {
			k := &d.knots[s.knot]
			m.East, m.North, m.Sky = float64(k.east), float64(k.north), k.sky
			return false
		}
		if !s.bus {
			d.spare -= wait
		}
		d.clock = there + wait
		d.waited += wait
		d.stop++
	}
	at := max(0, (until-d.waited)*d.pace)
	if at >= d.total {
		m.East, m.North = float64(d.end.east), float64(d.end.north)
		return true
	}
	d.knot = int32(d.find(float32(at), int(d.knot)))
	a, b := &d.knots[d.knot], &d.knots[d.knot+1]
	lasts := float64(b.at - a.at)
	u := min(max((at-float64(a.at))/lasts, 0), 1)
	from, more := float64(a.speed), float64(b.speed-a.speed)
	part := u * (from + more*u/2) / (from + more/2)
	m.East = float64(a.east) + part*float64(b.east-a.east)
	m.North = float64(a.north) + part*float64(b.north-a.north)
	m.Speed, m.Heading, m.Sky = (from+more*u)*d.pace, float64(a.heading), a.sky
	if until < 0 {
		m.Speed = 0
	}
	return false
}

// wait returns for how many seconds the rider stands at its next stop.
func (d *passage) wait(s *stop) float64 {
	h := handset.Scramble(d.key + uint64(d.stop))
	part := float64(h>>8&0xff) / 0x100
	switch {
	case s.bus:
		return 8 + (dwellMax-8)*part
	case h&1 != 0:
		return min(8+25*part, d.spare)
	}
	return min(1+part, d.spare)
}

// took returns how many seconds the whole passage takes, once the rider has arrived.
func (d *passage) took() float64 { return d.total*d.slow + d.waited }
