package track

import (
	"cmp"
	"math"
	"slices"

	"pingline"
)

// Path is a track as its readers draw it: a line through the stored points that are
// not late, linear in time, latitude and longitude, the short way round the globe. The
// zero value has no points. It is not safe for concurrent use.
type Path struct {
	points   []point // by time, once sorted
	unsorted bool
}

type point struct {
	at       int64 // ms
	lat, lon int32 // 1e-7 degree
}

func byTime(p point, at int64) int { return cmp.Compare(p.at, at) }

// Add adds a stored point; points may be added in any order.
func (p *Path) Add(f *pingline.Fix) {
	n := len(p.points)
	p.unsorted = p.unsorted || n > 0 && f.At < p.points[n-1].at
	p.points = append(p.points, point{f.At, f.LatE7, f.LonE7})
}

func (p *Path) sort() {
	if p.unsorted {
		slices.SortStableFunc(p.points, func(a, b point) int { return byTime(a, b.at) })
		p.unsorted = false
	}
}

// Off returns the distance in metres, on the great circle, from f to the path's position
// at the time of f. Before its first point the path is at the first, after its last at
// the last, and at an instant with several points at the nearest to f. Off is infinite
// for a path without points.
func (p *Path) Off(f *pingline.Fix) float64 {
	p.sort()
	i, found := slices.BinarySearchFunc(p.points, f.At, byTime)
	if len(p.points) == 0 {
		return math.Inf(1)
	}
	if !found {
		lat, lon := p.between(i, f.At)
		return greatCircle(lat, lon, float64(f.LatE7), float64(f.LonE7))
	}
	off := math.Inf(1)
	for ; i < len(p.points) && p.points[i].at == f.At; i++ {
		off = min(off, p.points[i].off(f))
	}
	return off
}

// At returns the path's position at a time, in 1e-7 degree; the longitude may be beyond
// the 180th meridian. It returns false for a path without points.
func (p *Path) At(at int64) (lat, lon float64, ok bool) {
	if len(p.points) == 0 {
		return 0, 0, false
	}
	p.sort()
	i, _ := slices.BinarySearchFunc(p.points, at, byTime)
	lat, lon = p.between(i, at)
	return lat, lon, true
}

// between returns the path's position, in 1e-7 degree, at a time between points i-1
// and i.
func (p *Path) between(i int, at int64) (lat, lon float64) {
	a, b := p.points[max(i-1, 0)], p.points[min(i, len(p.points)-1)]
	part := 0.0
	if b.at > a.at {
		part = float64(at-a.at) / float64(b.at-a.at)
	}
	lat = float64(a.lat) + part*(float64(b.lat)-float64(a.lat))
	lon = float64(a.lon) + part*shortWay(float64(b.lon)-float64(a.lon))
	return lat, lon
}

func (p point) off(f *pingline.Fix) float64 {
	return greatCircle(float64(p.lat), float64(p.lon), float64(f.LatE7), float64(f.LonE7))
}

// LongestGap returns the longest time between neighbouring points, in ms; 0 with fewer
// than two points.
func (p *Path) LongestGap() (ms int64) {
	p.sort()
	for i := 1; i < len(p.points); i++ {
		ms = max(ms, p.points[i].at-p.points[i-1].at)
	}
	return ms
}

const (
	earth  = 6_371_008.8                 // mean radius, metres
	radian = math.Pi / 180 / pingline.E7 // 1e-7 degree in radians
	turn   = 360 * pingline.E7           // a full circle in 1e-7 degree
)

// shortWay returns a difference of longitudes, in 1e-7 degree, by the shorter way round
// the globe.
func shortWay(d float64) float64 {
	switch {
	case d > turn/2:
		return d - turn
	case d < -turn/2:
		return d + turn
	}
	return d
}

// greatCircle returns the distance in metres of two positions in 1e-7 degree
// on a sphere (haversine formula).
func greatCircle(lat1, lon1, lat2, lon2 float64) float64 {
	s, c := math.Sin((lat2-lat1)*radian/2), math.Sin((lon2-lon1)*radian/2)
	h := s*s + math.Cos(lat1*radian)*math.Cos(lat2*radian)*c*c
	return 2 * earth * math.Asin(math.Sqrt(min(1, h)))
}
