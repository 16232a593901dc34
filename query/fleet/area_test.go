package fleet

import (
	"math/rand/v2"
	"testing"

	"pingline"
	"pingline/partition"
)

// boxes are boxes of all sizes, some of them across the antimeridian or around a pole.
func someBox(r *rand.Rand) partition.Box {
	if r.IntN(20) == 0 {
		return partition.Box{West: -180, South: -90, East: 180, North: 90}
	}
	lon := func() float64 { return float64(r.IntN(3601)-1800) / 10 }
	lat := func() float64 { return float64(r.IntN(1801)-900) / 10 }
	b := partition.Box{West: lon(), South: lat(), East: lon(), North: lat()}
	if r.IntN(2) == 0 { // a small box
		size := r.Float64() / 10
		b.East, b.North = min(180, b.West+size), min(90, b.South+size)
	}
	if b.South > b.North {
		b.South, b.North = b.North, b.South
	}
	return b
}

// Every position in a box is in its viewport, and the squares of a viewport have all
// tiles of it, each square once.
func TestViewportHoldsItsBox(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		b := someBox(r)
		margin := float64(r.IntN(2)) * r.Float64() * 3
		v := ViewportOf(b, margin)
		wholes := make(map[int]bool)
		v.eachSquare(func(square int, whole bool) bool {
			if _, twice := wholes[square]; twice {
				t.Fatalf("%+v: square %d is there twice", b, square)
			}
			wholes[square] = whole
			return true
		})
		for range 300 {
			lat, lon := b.South+r.Float64()*(b.North-b.South), -180+r.Float64()*360
			if r.IntN(2) == 0 {
				lat, lon = -90+180*r.Float64(), b.West+(r.Float64()-0.5)/10
			}
			switch r.IntN(10) {
			case 0:
				lon = b.West
			case 1:
				lon = b.East
			case 2:
				lon = 180
			case 3:
				lat = b.North
			}
			var f pingline.Fix
			if f.SetPosition(lat, lon) != nil {
				continue
			}
			k := keyOf(f.LatE7, f.LonE7)
			if b.Contains(f.Lat(), f.Lon()) && !v.has(k) {
				t.Fatalf("%+v with %v around it has not %v, %v", b, margin, f.Lat(), f.Lon())
			}
			whole, listed := wholes[k.square()]
			if v.has(k) && !listed || whole && !v.has(k) {
				t.Fatalf("%+v: tile %v is in it: %v, its square is listed: %v, as a whole: %v", b, k, v.has(k), listed, whole)
			}
		}
	}
}
