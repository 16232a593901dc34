package partition

import (
	"math"

	"pingline"
)

// inner is a rectangle of positions that surely lie in a region, 1e-7 degree,
// edges included. It holds more than half of most regions, and a position in it
// needs neither sine nor cosine.
type inner struct{ south, north, west, east int32 }

// noInner holds nothing. It is the rectangle of a region with a pole or the
// antimeridian in it.
var noInner = inner{south: 1}

func (b *inner) holds(f *pingline.Fix) bool {
	return f.LatE7 >= b.south && f.LatE7 <= b.north && f.LonE7 >= b.west && f.LonE7 <= b.east
}

// widest returns about the largest rectangle in r around the middle of its corners:
// of a few shapes the one that is largest in a plane, and so much of it as surely
// lies in r on the globe.
func (r *region) widest(corners [][2]float64) inner {
	lon, lat := 0.0, 0.0
	for _, c := range corners {
		lon, lat = lon+c[0]/float64(len(corners)), lat+c[1]/float64(len(corners))
	}
	narrow := math.Cos(lat * (math.Pi / 180))
	width, height := 0.0, 0.0                                 // halves
	for _, shape := range [...]float64{0.5, 0.7, 1, 1.4, 2} { // width by height, in metres
		high := math.Inf(1)
		x, y := (corners[len(corners)-1][0]-lon)*narrow, corners[len(corners)-1][1]-lat
		for _, c := range corners {
			toX, toY := (c[0]-lon)*narrow, c[1]-lat
			// The corner nearest to this side comes to lie on it.
			high = min(high, (x*toY-y*toX)/(shape*math.Abs(toY-y)+math.Abs(toX-x)))
			x, y = toX, toY
		}
		if high*high*shape > width*height {
			width, height = high*shape, high
		}
	}
	for _, part := range [...]float64{0.98, 0.96, 0.9, 0.8, 0.6, 0.4} {
		if w, h := part*width/narrow, part*height; r.surrounds(lon, lat, w, h) {
			return innerOf(lon, lat, w, h)
		}
	}
	return noInner
}

func innerOf(lon, lat, width, height float64) inner {
	e7 := func(v float64) int32 { return int32(v * pingline.E7) }
	b := inner{south: e7(lat-height) + 1, north: e7(lat+height) - 1, west: e7(lon-width) + 1, east: e7(lon+width) - 1}
	if b.south > b.north || b.west > b.east {
		return noInner
	}
	return b
}

// surrounds reports whether all of a rectangle surely lies in r; it is given by its
// middle and half of its sides, in degrees. Between two corners a side's plane may
// come nearer than at both by an eighth of the square of the way in radians: the
// distance is a sine of the longitude, and of the latitude.
func (r *region) surrounds(lon, lat, width, height float64) bool {
	if !(height > 0 && math.Abs(lat)+height < 90 && math.Abs(lon)+width < 180) {
		return false
	}
	const radians = 2 * math.Pi / 180 // of half a side
	bulge := (width*width + height*height) * radians * radians / 8
	for _, x := range [...]float64{lon - width, lon + width} {
		for _, y := range [...]float64{lat - height, lat + height} {
			p := unit(x, y)
			for i := range r.sides {
				if r.sides[i].dot(p) <= margin+bulge {
					return false
				}
			}
		}
	}
	return true
}
