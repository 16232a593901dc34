package roads

import (
	"math"
	"slices"

	"pingline/sim/handset"
)

// gear is how riders of a mode get along a way, in metres and seconds.
type gear struct {
	open      edgeFlags
	reach     float64 // metres from the middle of a quarter to its places
	places    int     // in a quarter
	top       float64 // m/s; streets may allow less
	accel     float64
	turn      float64 // m/s at a right angle
	lights    int     // one crossing in so many has a traffic light
	red       float64 // seconds that a drive waits at those, at most
	stopEvery float64 // metres between two bus stops; 0: none
	indoors   bool    // where a rider waits
}

var gears = [handset.Modes]gear{
	handset.Car:     {open: drivable, reach: 2500, places: 8, top: 36, accel: 1.8, turn: 4, lights: 4, red: 90},
	handset.Courier: {open: walkable, reach: 1400, places: 8, top: 7, accel: 1.2, turn: 2.5, lights: 4, red: 60, indoors: true},
	handset.Walker:  {open: walkable, reach: 350, places: 6, top: 1.5, accel: 1, turn: 1, lights: 16, red: 45, indoors: true},
	handset.Bus:     {open: drivable, reach: 2500, places: 2, top: 14, accel: 1.2, turn: 4, lights: 6, red: 90, stopEvery: 350},
}

// knot is a moment of a drive along a route without waits: until the next one the rider
// goes straight on and changes its speed evenly.
type knot struct {
	at    float32 // seconds since the start
	speed float32 // m/s
	corner
	heading float32 // degrees clockwise from north, until the next knot
	sky     handset.Sky
}

// stop is where a drive stands still for a while.
type stop struct {
	at   float32 // seconds since the start, without waits
	knot uint32
	bus  bool // stop, or else a traffic light
}

// route is the shortest way between two places of a quarter: all riders who go there
// share it.
type route struct {
	knots []knot // two or more
	stops []stop
	total float64 // seconds, without waits
	red   float64 // seconds that traffic lights take, at most
	start corner
	end   corner
}

const (
	dwellMax = 28.0 // seconds at a bus stop, at most
	slowest  = 0.85 // of the speed of a route
	shade    = 120  // metres after a tunnel in which fixes are poor
)

// longest returns within how many seconds every drive along the route is over.
func (r *route) longest() float64 {
	waits := r.red
	for _, s := range r.stops {
		if s.bus {
			waits += dwellMax
		}
	}
	return r.total/slowest + waits
}

// waypoint is a vertex of a way, and the stretch after it.
type waypoint struct {
	corner
	limit   float64 // m/s on the stretch
	cap     float64 // m/s at the vertex
	covered bool
	shaded  bool
	light   bool
	bus     bool
}

// trace makes a route of the edges of a way.
func (n *Network) trace(g *gear, key uint64, start uint32, edges []uint32) *route {
	points := n.points(g, key, start, edges)
	last := len(points) - 1
	for i := range points {
		p := &points[i]
		switch {
		case i == 0 || i == last || p.light || p.bus:
			p.cap = 0
		default:
			p.cap = min(p.limit, points[i-1].limit, cornering(g, points[i-1].corner, p.corner, points[i+1].corner))
		}
		if i > 0 {
			p.cap = min(p.cap, math.Sqrt(sq(points[i-1].cap)+2*g.accel*points[i-1].distance(p.corner)))
		}
	}
	for i := last - 1; i >= 0; i-- {
		points[i].cap = min(points[i].cap, math.Sqrt(sq(points[i+1].cap)+2*g.accel*points[i].distance(points[i+1].corner)))
	}
	r := &route{red: g.red, start: points[0].corner, end: points[last].corner}
	for i := range last {
		r.stretch(g, &points[i], &points[i+1])
	}
	r.knots = append(r.knots, knot{at: float32(r.total), corner: r.end, heading: r.knots[len(r.knots)-1].heading})
	r.knots = slices.Clip(r.knots)
	return r
}

func sq(v float64) float64 { return v * v }

// cornering returns how fast a rider goes from a over b to c.
func cornering(g *gear, a, b, c corner) float64 {
	in := math.Atan2(float64(b.east-a.east), float64(b.north-a.north))
	out := math.Atan2(float64(c.east-b.east), float64(c.north-b.north))
	angle := math.Abs(math.Remainder(out-in, 2*math.Pi))
	if angle < 0.1 {
		return g.top
	}
	return min(g.top, g.turn*math.Pi/2/angle)
}

// points returns the vertices of a way, with traffic lights and bus stops. Traffic makes
// a street slower than its limit allows, by up to a third.
func (n *Network) points(g *gear, key uint64, start uint32, edges []uint32) (points []waypoint) {
	v, sinceStop, sinceTunnel := start, 0.0, math.Inf(1)
	for i, number := range edges {
		e := &n.edges[number]
		p := waypoint{corner: n.at[v], covered: e.flags&covered != 0}
		traffic := 1 - handset.Unit(handset.Scramble(key^uint64(number)))/3
		p.limit = g.top * traffic
		if g.open == drivable {
			p.limit = min(g.top, float64(e.speed)) * traffic
		}
		crossing := n.first[v+1]-n.first[v] > 2
		p.light = i > 0 && crossing && !p.covered && handset.Scramble(uint64(v))%uint64(g.lights) == 0
		if p.bus = i > 0 && g.stopEvery > 0 && sinceStop >= g.stopEvery && !p.covered; p.bus {
			sinceStop = 0
		}
		length := float64(e.length)
		to := n.at[e.to]
		if p.covered {
			sinceTunnel = 0
		} else if p.shaded = sinceTunnel < shade; p.shaded && sinceTunnel+length > shade+1 {
			// The shade ends on this stretch: divide it.
			part := float32((shade - sinceTunnel) / length)
			middle := p
			middle.shaded, middle.light, middle.bus = false, false, false
			middle.corner = corner{p.east + part*(to.east-p.east), p.north + part*(to.north-p.north)}
			points = append(points, p)
			p = middle
		}
		points = append(points, p)
		if !p.covered {
			sinceTunnel += length
		}
		sinceStop += length
		v = e.to
	}
	return append(points, waypoint{corner: n.at[v]})
}

// stretch adds the knots from a to b. Between speeding up and slowing down, on a long
// one, traffic slows the rider down for a while.
func (r *route) stretch(g *gear, a, b *waypoint) {
	length := a.distance(b.corner)
	if length < 0.05 {
		return // two vertices of the file in one place
	}
	if a.light || a.bus {
		r.stops = append(r.stops, stop{float32(r.total), uint32(len(r.knots)), a.bus})
	}
	east, north := float64(b.east-a.east)/length, float64(b.north-a.north)/length
	gone := 0.0
	k := knot{heading: float32(math.Atan2(east, north) * 180 / math.Pi)}
	if k.sky = handset.Open; a.covered {
		k.sky = handset.Hidden
	} else if a.shaded {
		k.sky = handset.Shaded
	}
	add := func(from, to, metres float64) {
		k.at, k.speed = float32(r.total), float32(from)
		k.east, k.north = a.east+float32(east*gone), a.north+float32(north*gone)
		r.knots = append(r.knots, k)
		gone += metres
		r.total += 2 * metres / (from + to)
	}
	peak := max(a.cap, b.cap, min(a.limit, math.Sqrt((2*g.accel*length+sq(a.cap)+sq(b.cap))/2)))
	up, down := (sq(peak)-sq(a.cap))/2/g.accel, (sq(peak)-sq(b.cap))/2/g.accel
	even := length - up - down
	if up > 0.01 {
		add(a.cap, peak, up)
	} else {
		even += up
	}
	if down <= 0.01 {
		even, down = even+down, 0
	}
	if lasts := even / peak; lasts > 8 {
		w := min(peak/3, g.accel*lasts/4*0.7)
		v := [...]float64{peak, peak - w/2, peak - w, peak - w/2, peak}
		for i := range v[1:] {
			add(v[i], v[i+1], even/4)
		}
	} else if even > 0.01 {
		add(peak, peak, even)
	}
	if down > 0 {
		add(peak, b.cap, down)
	}
}

// find returns the last knot that is not after a time in seconds since the start, less
// than the total. It looks near knot i first.
func (r *route) find(at float32, i int) int {
	last := len(r.knots) - 2
	for step := 1; i > 0 && r.knots[i].at > at; step *= 2 {
		i = max(0, i-step)
	}
	high := i
	for step := 1; high < last && r.knots[high+1].at <= at; step *= 2 {
		i = high + 1
		high = min(last, high+step)
	}
	for i < high {
		middle := (i + high + 1) / 2
		if r.knots[middle].at <= at {
			i = middle
		} else {
			high = middle - 1
		}
	}
	return i
}
