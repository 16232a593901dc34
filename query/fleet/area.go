package fleet

import (
	"math"

	"pingline"
	"pingline/partition"
)

// The globe is cut into tiles along meridians and parallels, about 1.2 km from north to
// south, and into squares of tiles. Columns count from -180 degrees, rows from -90.
const (
	columns = 1 << 15 // of tiles; there are half as many rows
	tileE7  = (360*e7 + columns - 1) / columns
	e7      = int64(pingline.E7)
	side    = 1 << 7 // tiles of a square's side
	across  = columns / side
	squares = across * across / 2
)

// tileKey is the column and the row of a tile.
type tileKey struct{ x, y uint16 }

func keyOf(latE7, lonE7 int32) tileKey {
	x := (int64(lonE7) + 180*e7) % (360 * e7) // 180 is the meridian of -180
	y := int64(latE7) + 90*e7
	return tileKey{uint16(x / tileE7), uint16(y / tileE7)}
}

func (k tileKey) square() int { return int(k.y/side)*across + int(k.x/side) }

// Viewport is the tiles that a box touches, from the tile in its south-western corner
// to the tile in its north-eastern corner. If the first column is behind the last, the
// viewport goes across the antimeridian.
type Viewport struct{ from, to tileKey }

// ViewportOf returns the viewport of a valid box and of all that is within a margin, in
// degrees of the great circle, of it.
func ViewportOf(b partition.Box, margin float64) Viewport {
	south, north := max(-90, b.South-margin), min(90, b.North+margin)
	wider := 0.0 // degrees of longitude
	if steepest := max(math.Abs(south), math.Abs(north)); margin > 0 && steepest >= 89 {
		wider = 360
	} else if margin > 0 {
		wider = margin / math.Cos(steepest*math.Pi/180)
	}
	width := b.East - b.West
	if width < 0 {
		width += 360
	}
	v := Viewport{corner(south, b.West-wider), corner(north, b.East+wider)}
	if width+2*wider > 359.9 {
		v.from.x, v.to.x = 0, columns-1
	}
	return v
}

// corner returns the tile of a position; its longitude may be beyond ±180.
func corner(lat, lon float64) tileKey {
	lon = math.Mod(lon+3*180, 360) - 180
	return keyOf(int32(math.Floor(lat*pingline.E7)), int32(math.Floor(lon*pingline.E7)))
}

// has reports whether a tile is in v.
func (v *Viewport) has(k tileKey) bool {
	if k.y < v.from.y || k.y > v.to.y {
		return false
	}
	if v.from.x <= v.to.x {
		return k.x >= v.from.x && k.x <= v.to.x
	}
	return k.x >= v.from.x || k.x <= v.to.x
}

// eachSquare calls f for each square that v touches, and tells whether v has all tiles of
// the square, until f returns false.
func (v *Viewport) eachSquare(f func(square int, whole bool) bool) {
	last := int(v.to.x / side)
	if v.from.x > v.to.x {
		last += across
	}
	for y := int(v.from.y / side); y <= int(v.to.y/side); y++ {
		tall := y*side >= int(v.from.y) && y*side+side-1 <= int(v.to.y)
		for n := int(v.from.x / side); n <= last; n++ {
			x := n % across
			if n >= across && x == int(v.from.x/side) {
				continue // the viewport ends in the square in which it begins, once around
			}
			inner := x != int(v.from.x/side) && x != int(v.to.x/side)
			flush := v.from.x <= v.to.x && x*side >= int(v.from.x) && x*side+side-1 <= int(v.to.x)
			if !f(y*across+x, tall && (inner || flush)) {
				return
			}
		}
	}
}
