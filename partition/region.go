package partition

import (
	"math"
	"sync/atomic"

	"pingline"
)

// A call into H3 costs more than all the rest of a ping's way through the
// writer, and most pings lie in a cell in which a ping lay a moment ago: so the cells
// are cached. H3 cuts each face of its icosahedron into hexagons in the plane onto
// which the face is projected from the centre of the globe. Straight lines of that
// plane are great circles, so the sides of a cell are arcs of great circles. A
// position is inside if, for each side, it is on the inner side of the plane through
// the circle and the centre of the globe: three multiplications a side, without
// exceptions at poles, the antimeridian or the edges of the icosahedron. A cell across
// an edge of the icosahedron may not be convex: there the test misses a part of the
// cell, and H3 is asked.

// vector is a point of the unit sphere, or the normal of a plane through its
// centre.
type vector struct{ x, y, z float64 }

// unit returns the point of the unit sphere at a position in degrees.
func unit(lon, lat float64) vector {
	sinLat, cosLat := math.Sincos(lat * (math.Pi / 180))
	sinLon, cosLon := math.Sincos(lon * (math.Pi / 180))
	return vector{cosLat * cosLon, cosLat * sinLon, sinLat}
}

func (a vector) dot(b vector) float64 { return a.x*b.x + a.y*b.y + a.z*b.z }

func (a vector) cross(b vector) vector {
	return vector{a.y*b.z - a.z*b.y, a.z*b.x - a.x*b.z, a.x*b.y - a.y*b.x}
}

func (a vector) minus(b vector) vector { return vector{a.x - b.x, a.y - b.y, a.z - b.z} }

func (a vector) times(f float64) vector { return vector{a.x * f, a.y * f, a.z * f} }

// margin is how far inside a position must be for the planes to decide, in
// radians: 19 cm. H3 and we round differently, by 1e-8 at worst (where it takes
// the arc cosine of nearly 1).
const margin = 3e-8

// region is the inside of a cell; immutable.
type region struct {
	cell  uint64
	sides []vector // unit normals of its sides, inwards
	inner inner
}

func newRegion(cell uint64) *region {
	corners := corners(cell)
	r := &region{cell: cell, sides: make([]vector, len(corners))}
	from := unit(corners[len(corners)-1][0], corners[len(corners)-1][1])
	for i, c := range corners {
		to := unit(c[0], c[1])
		// The difference is taken first: the product of two points this close would
		// be mostly rounding.
		side := from.cross(to.minus(from))
		r.sides[i] = side.times(1 / math.Sqrt(side.dot(side)))
		from = to
	}
	r.inner = r.widest(corners)
	return r
}

// holds reports whether p is surely inside.
func (r *region) holds(p vector) bool {
	for i := range r.sides {
		if r.sides[i].dot(p) <= margin {
			return false
		}
	}
	return true
}

// regions caches the insides of cells in which positions lay lately, and, for each
// square of latitude and longitude, the cells that reach into it. A region from the
// cache is always tested, so the cache may lose any of it at any time. Safe for
// concurrent use without locks.
type regions struct {
	shift   uint8 // log2 of the side of a square, 1e-7 degree
	made    [1 << 14]atomic.Pointer[region]
	squares [1 << 16]square
}

// MaxCellsMemory bounds what all copies of a Cells allocate, in bytes.
const MaxCellsMemory = 8 << 20

// square is for one square, or several that share the place.
type square struct {
	missed atomic.Uint64    // the cell of H3's last answer
	known  [4]atomic.Uint32 // places in made, plus 1
	next   atomic.Uint32    // index in known of the next to be replaced
}

func newRegions(res int) *regions {
	// A square's side is about that of a cell, 8.5 km at resolution 5, so that
	// few cells reach into it; a resolution is finer by the square root of 7.
	return &regions{shift: uint8(math.Round(19.7 - float64(res-5)*math.Log2(7)/2))}
}

func (r *regions) square(f *pingline.Fix) *square {
	at := uint64(uint32(f.LatE7>>r.shift))<<32 | uint64(uint32(f.LonE7>>r.shift))
	return &r.squares[mix(at)%uint64(len(r.squares))]
}

// find returns the known cell that surely holds f, or 0.
func (r *regions) find(s *square, f *pingline.Fix) uint64 {
	var known [len(s.known)]*region
	n := 0
	for ; n < len(known); n++ {
		at := s.known[n].Load()
		if at == 0 {
			break
		}
		g := r.made[(at-1)%uint32(len(r.made))].Load()
		if g.inner.holds(f) {
			return g.cell
		}
		known[n] = g
	}
	if n == 0 {
		return 0
	}
	p := unit(f.Lon(), f.Lat())
	for _, g := range known[:n] {
		if g.holds(p) {
			return g.cell
		}
	}
	return 0
}

// learn records that H3 answered cell for a position in s. Making a region takes
// longer than a call, so it is made only when the same cell is the answer twice in a
// row: then positions strewn over the globe cost little more than their calls.
func (r *regions) learn(s *square, cell uint64) {
	if s.missed.Swap(cell) != cell {
		return
	}
	at := r.make(cell)
	for i := range s.known {
		switch s.known[i].Load() {
		case at + 1:
			return // the position was too near a side, or the region had been replaced
		case 0:
			s.known[i].Store(at + 1)
			return
		}
	}
	s.known[s.next.Add(1)%uint32(len(s.known))].Store(at + 1)
}

// make returns the place in made of the region of cell, which it makes if need be.
func (r *regions) make(cell uint64) uint32 {
	h := uint32(mix(cell))
	first := h % uint32(len(r.made)) &^ 3
	at := first + h>>30 // of four places; the place to overwrite if all are taken
	for i := first; i < first+4; i++ {
		g := r.made[i].Load()
		if g != nil && g.cell == cell {
			return i
		}
		if g == nil {
			at = i
			break
		}
	}
	r.made[at].Store(newRegion(cell))
	return at
}
