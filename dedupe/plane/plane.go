// Package plane tells whether a chord of a track passes near the pings between its
// ends, in constant time and memory for any number of pings.
//
// Chords are compared by their velocities, in a plane around the vertex from which
// they start. A chord that a Polygon contains passes each ping by which the polygon was
// narrowed within that ping's bound, on the great circle and with positions as they
// are stored. The converse does not hold: some chords that pass all pings are not
// contained. The plane carries only as far as Frame.Carries says.
package plane

import (
	"math"

	"pingline"
)

// Spot is a position at a time.
type Spot struct {
	At       int64 // ms since 1970
	Lat, Lon int32 // 1e-7 degree
}

// SpotOf returns the spot of a fix.
func SpotOf(f *pingline.Fix) Spot { return Spot{f.At, f.LatE7, f.LonE7} }

// SamePlace reports whether s and o have the same position.
func (s Spot) SamePlace(o Spot) bool { return s.Lat == o.Lat && s.Lon == o.Lon }

const (
	earth    = 6371008.8 // mean radius, metres
	radian   = math.Pi / 180 / pingline.E7
	unit     = earth * radian // metres in 1e-7 degree of latitude
	halfTurn = 180 * pingline.E7
)

// lonBetween returns the way from one longitude to another, the short way
// round.
func lonBetween(from, to int32) int64 {
	d := int64(to) - int64(from)
	if d > halfTurn {
		d -= 2 * halfTurn
	} else if d < -halfTurn {
		d += 2 * halfTurn
	}
	return d
}

// margin is the part of a bound that discs use. It leaves room for the distortion of
// the plane: within the limits of a frame, a metre in the plane is at most 1.003
// metres on the ground.
const margin = 0.995

// fitMargin is the part of a bound that tests on the sphere use. It is greater than
// margin, so that a dropped ping that is sent again fits again.
const fitMargin = 0.999

// Frame is the plane around a vertex in which velocities are compared. The zero value
// carries to spots of the vertex's latitude only.
type Frame struct {
	cos   float32 // cosine of the vertex's latitude: metres of east in a metre along the equator
	reach int32   // greatest difference of latitude that the plane carries, 1e-7 degree; negative: none
}

const (
	maxLat    = 85 * pingline.E7                          // greatest latitude of a plane
	maxNorth  = 0.1 * pingline.E7                         // greatest reach of a plane
	maxEast   = 90 * pingline.E7                          // greatest difference of longitude, far from the 180° where the short way round changes
	maxShrink = 0.003 - maxNorth*maxNorth*radian*radian/2 // greatest relative difference of cos
)

// FrameAt returns the plane around a vertex of that latitude, 1e-7 degree.
func FrameAt(lat int32) Frame {
	if lat > maxLat || lat < -maxLat {
		return Frame{reach: -1}
	}
	sin, cos := math.Sincos(float64(lat) * radian)
	// cos(lat+d)/cos(lat) = cos d - tan(lat) sin d
	reach := maxShrink * cos / (math.Abs(sin) + 1e-9) / radian
	return Frame{cos: float32(cos), reach: int32(min(reach, maxNorth))}
}

// Carries reports whether to lies in the part of the plane around from that is exact
// enough.
func (fr Frame) Carries(from, to Spot) bool {
	north := int64(to.Lat) - int64(from.Lat)
	east := lonBetween(from.Lon, to.Lon)
	return max(north, -north) <= int64(fr.reach) && to.Lat <= maxLat && to.Lat >= -maxLat &&
		max(east, -east) <= maxEast
}

// Vec is an offset east and north, in metres, or a velocity, in metres a ms.
type Vec struct{ x, y float64 }

func (fr Frame) offset(from, to Spot) Vec {
	return Vec{
		x: float64(lonBetween(from.Lon, to.Lon)) * (unit * float64(fr.cos)),
		y: float64(int64(to.Lat)-int64(from.Lat)) * unit,
	}
}

// Moved reports whether two spots are more than eps metres apart.
func (fr Frame) Moved(from, to Spot, eps float64) bool {
	d := fr.offset(from, to)
	r := margin * eps
	return d.x*d.x+d.y*d.y > r*r
}

// Velocity returns the velocity of the chord between two spots of different times;
// from may be the later spot.
func (fr Frame) Velocity(from, to Spot) Vec {
	v := fr.offset(from, to)
	perMs := 1 / float64(to.At-from.At)
	return Vec{v.x * perMs, v.y * perMs}
}

// Directions is the number of directions that the edges of a polygon have: the
// directions of a regular 16-gon, which is inscribed in the disc around a ping's
// velocity and replaces it. They are the same for every disc, so that the
// intersection of any number of 16-gons is eight intervals.
const Directions = 8

const (
	sin1 = 0.38268343236508977172845998403039886676134456248563 // of π/8
	cos1 = 0.92387953251128675612818318939678828682241662586364
	cos2 = math.Sqrt2 / 2

	// apothem is the distance of the edges of a 16-gon from its centre, as a part of
	// the radius of the disc around it: cos π/16.
	apothem = 0.98078528040323044912618223613423903697393373089334
)

// along returns v's components along the normals of the edges, at 0, π/8, … 7π/8.
func (v Vec) along() (a0, a1, a2, a3, a4, a5, a6, a7 float32) {
	sx, cx, dx := v.x*sin1, v.x*cos1, v.x*cos2
	sy, cy, dy := v.y*sin1, v.y*cos1, v.y*cos2
	return float32(v.x), float32(cx + sy), float32(dx + dy), float32(sx + cy),
		float32(v.y), float32(cy - sx), float32(dy - dx), float32(sy - cx)
}

// Polygon holds, for each direction, the interval of allowed velocities, from
// −Below to Above. With this sign both numbers only become smaller, which takes no
// branch. The polygon of a line without dropped pings is open on all sides.
type Polygon struct{ Below, Above [Directions]float32 }

// Open is the polygon that contains every velocity.
var Open = func() (p Polygon) {
	for k := range Directions {
		p.Below[k], p.Above[k] = float32(math.Inf(1)), float32(math.Inf(1))
	}
	return p
}()

// inward is greater than the relative error by which float32 may round a velocity or
// an end of an interval outwards. A 16-gon is made smaller by it first.
const inward = 1.0 / (1 << 22)

// Narrow intersects p with the 16-gon of the velocities that pass within eps metres
// of a ping. The ping is dt ms after the vertex, or before it if dt is negative, and v
// is the velocity from the vertex to the ping.
func (p *Polygon) Narrow(v Vec, eps float64, dt int64) {
	r := margin * apothem * eps / math.Abs(float64(dt))
	r -= (math.Abs(v.x) + math.Abs(v.y) + r) * inward
	a0, a1, a2, a3, a4, a5, a6, a7 := v.along()
	d := float32(r)
	p.cut(0, a0, d)
	p.cut(1, a1, d)
	p.cut(2, a2, d)
	p.cut(3, a3, d)
	p.cut(4, a4, d)
	p.cut(5, a5, d)
	p.cut(6, a6, d)
	p.cut(7, a7, d)
}

// cut takes off the velocities further than r from a in direction k.
func (p *Polygon) cut(k int, a, r float32) {
	p.Below[k] = min(p.Below[k], r-a)
	p.Above[k] = min(p.Above[k], r+a)
}

// Contains reports whether a chord of velocity v is within the bound of every ping by
// which p was narrowed.
func (p *Polygon) Contains(v Vec) bool {
	a0, a1, a2, a3, a4, a5, a6, a7 := v.along()
	return p.holds(0, a0) && p.holds(1, a1) && p.holds(2, a2) && p.holds(3, a3) &&
		p.holds(4, a4) && p.holds(5, a5) && p.holds(6, a6) && p.holds(7, a7)
}

func (p *Polygon) holds(k int, a float32) bool { return -a <= p.Below[k] && a <= p.Above[k] }

// OnLine reports whether p, not before from and not after to, lies within eps metres
// of the position that a reader interpolates for its time.
func OnLine(from, to, p Spot, eps float64) bool {
	part := float64(p.At-from.At) / float64(to.At-from.At)
	east := lonBetween(from.Lon, to.Lon)
	if max(east, -east) > halfTurn-1000 {
		return false // readers may go either way round
	}
	lat := float64(from.Lat) + part*float64(int64(to.Lat)-int64(from.Lat))
	lon := float64(from.Lon) + part*float64(east)
	return eps > 0 && distance(lat, lon, float64(p.Lat), float64(p.Lon)) <= fitMargin*eps
}

// Near reports whether two spots lie within eps metres.
func Near(a, b Spot, eps float64) bool {
	return eps > 0 && distance(float64(a.Lat), float64(a.Lon), float64(b.Lat), float64(b.Lon)) <= fitMargin*eps
}

// distance returns the great-circle distance in metres between positions in
// 1e-7 degree.
func distance(lat1, lon1, lat2, lon2 float64) float64 {
	north := math.Sin((lat2 - lat1) * (radian / 2))
	east := math.Sin((lon2 - lon1) * (radian / 2))
	h := north*north + math.Cos(lat1*radian)*math.Cos(lat2*radian)*east*east
	return 2 * earth * math.Asin(math.Sqrt(min(h, 1)))
}
