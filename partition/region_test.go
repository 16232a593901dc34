package partition

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/uber/h3-go/v4"

	"pingline"
)

// hard are cells of a resolution where a test of sides could go wrong: the
// pentagons and what is around them, what lies across the edges of the
// icosahedron and in the middle of its faces, at the poles and along the
// antimeridian; and some of no account.
func hard(t testing.TB, rng *rand.Rand, res int) []uint64 {
	t.Helper()
	pentagons, err := h3.Pentagons(res)
	if err != nil {
		t.Fatal(err)
	}
	var list []uint64
	around := func(cell uint64) {
		for _, c := range neighbours(cell) {
			list = append(list, uint64(c))
		}
	}
	at := func(v vector) uint64 {
		lat, lon := degrees(v)
		return cellAt(lon, lat, res)
	}
	var tips []vector // of the icosahedron
	for _, p := range pentagons {
		around(uint64(p))
		c := centre(uint64(p))
		tips = append(tips, unit(c[0], c[1]))
	}
	near := func(a, b vector) bool { return a.dot(b) > 0.4 && a.dot(b) < 0.5 }
	for i, a := range tips {
		for j, b := range tips[:i] {
			if !near(a, b) {
				continue
			}
			for range 10 { // along the edge
				list = append(list, at(between(a, b, rng.Float64())))
			}
			for _, c := range tips[:j] {
				if near(a, c) && near(b, c) {
					around(at(between(between(a, b, 0.5), c, 1.0/3)))
				}
			}
		}
	}
	around(cellAt(0, 90, res))
	around(cellAt(0, -90, res))
	for range 50 {
		list = append(list,
			cellAt(180, rng.Float64()*180-90, res),
			cellAt(rng.Float64()*360-180, rng.Float64()*180-90, res))
	}
	return list
}

// between returns the point f of the way on the straight line from a to b.
func between(a, b vector, f float64) vector {
	d := b.minus(a)
	return vector{a.x + f*d.x, a.y + f*d.y, a.z + f*d.z}
}

// degrees returns the position in the direction of v.
func degrees(v vector) (lat, lon float64) {
	return math.Atan2(v.z, math.Hypot(v.x, v.y)) * (180 / math.Pi), math.Atan2(v.y, v.x) * (180 / math.Pi)
}

// somewhere returns a position about a cell: more often than not close to its
// boundary, down to the unit of a position.
func somewhere(rng *rand.Rand, cell uint64) *pingline.Fix {
	ring, c := corners(cell), centre(cell)
	i := rng.IntN(len(ring))
	a, b := ring[i], ring[(i+1)%len(ring)]
	side := between(unit(a[0], a[1]), unit(b[0], b[1]), rng.Float64())
	outwards := 1.3 * rng.Float64()
	switch rng.IntN(3) {
	case 0:
		outwards = 1 + 1e-3*rng.NormFloat64()
	case 1:
		outwards = 1 + 1e-6*rng.NormFloat64()
	}
	lat, lon := degrees(between(unit(c[0], c[1]), side, outwards))
	return &pingline.Fix{
		LatE7: int32(math.Round(lat*pingline.E7)) + int32(rng.IntN(3)-1),
		LonE7: int32(math.Round(lon*pingline.E7)) + int32(rng.IntN(3)-1),
	}
}

func onGlobe(f *pingline.Fix) bool { return math.Abs(f.Lat()) <= 90 && math.Abs(f.Lon()) <= 180 }

// TestCellIsAlwaysTheOneOfH3 makes the region of each position's cell known, so
// that H3 is asked only within the margin. PINGLINE_CELL_POINTS sets how many
// positions are tested.
func TestCellIsAlwaysTheOneOfH3(t *testing.T) {
	points := 400_000
	if s := os.Getenv("PINGLINE_CELL_POINTS"); s != "" {
		var err error
		if points, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for res := range MaxRes + 1 {
		t.Run(fmt.Sprint("res=", res), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(res), uint64(points)))
			cells, err := NewCells(res)
			if err != nil {
				t.Fatal(err)
			}
			known, all := 0, 0
			for all < points/(MaxRes+1) {
				for _, cell := range hard(t, rng, res) {
					for range 20 {
						f := somewhere(rng, cell)
						if !onGlobe(f) {
							continue
						}
						want, square := cells.Exact(f), cells.regions.square(f)
						cells.regions.learn(square, want)
						cells.regions.learn(square, want)
						if cells.regions.find(square, f) != 0 {
							known++
						}
						all++
						if got := cells.Of(f); got != want {
							t.Fatalf("%v,%v lies in %x, H3 says %x", f.Lat(), f.Lon(), got, want)
						}
					}
				}
			}
			t.Logf("%d positions, %d without a call", all, known)
			if known < all/8 {
				t.Errorf("%d of %d positions needed no call: little was tested", known, all)
			}
		})
	}
}

// The inner rectangle of a cell lies in it, to its corners and along its edges.
func TestInnerRectangleLiesInTheCell(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	along := func(from, to int32) int32 { return int32(int64(from) + rng.Int64N(int64(to)-int64(from)+1)) }
	for res := range MaxRes + 1 {
		some := 0
		for _, cell := range hard(t, rng, res) {
			b := newRegion(cell).inner
			if b == noInner {
				continue
			}
			some++
			for range 2 {
				for _, f := range []pingline.Fix{
					{LatE7: b.south, LonE7: along(b.west, b.east)}, {LatE7: b.north, LonE7: along(b.west, b.east)},
					{LatE7: along(b.south, b.north), LonE7: b.west}, {LatE7: along(b.south, b.north), LonE7: b.east},
					{LatE7: b.south, LonE7: b.west}, {LatE7: b.north, LonE7: b.west}, {LatE7: b.south, LonE7: b.east}, {LatE7: b.north, LonE7: b.east},
				} {
					if got := cellAt(f.Lon(), f.Lat(), res); !b.holds(&f) || got != cell {
						t.Fatalf("%v,%v is at the edge of the rectangle of %x and lies in %x", f.Lat(), f.Lon(), cell, got)
					}
				}
			}
		}
		if some == 0 {
			t.Errorf("resolution %d: no cell has a rectangle", res)
		}
	}
}

// At the resolutions in use most positions lie in the rectangle of their cell.
func TestInnerRectangleHoldsMostOfACell(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for res := 4; res <= 10; res++ {
		const all = 2000
		held := 0
		for range all {
			f := pingline.Fix{LatE7: rng.Int32N(1.4e9) - 7e8, LonE7: int32(rng.Int64N(3.4e9) - 1.7e9)}
			if newRegion(cellAt(f.Lon(), f.Lat(), res)).inner.holds(&f) {
				held++
			}
		}
		if held < all*55/100 {
			t.Errorf("resolution %d: %d of %d positions", res, held, all)
		}
	}
}

// Cells are made of great circles, to well within the margin: on the inner side
// of all sides is inside, and outside of one is outside (where no edge of the
// icosahedron makes a cell concave).
func TestSidesAreTheBoundary(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for res := range MaxRes + 1 {
		worst, inside := 0.0, 0
		for _, cell := range hard(t, rng, res) {
			r := newRegion(cell)
			for range 10 {
				f := somewhere(rng, cell)
				if !onGlobe(f) {
					continue
				}
				depth := 1.0
				for _, side := range r.sides {
					depth = min(depth, side.dot(unit(f.Lon(), f.Lat())))
				}
				in := cellAt(f.Lon(), f.Lat(), res) == cell
				switch {
				case depth > 0 && !in, depth < 0 && in && len(r.sides) <= 6:
					worst = max(worst, math.Abs(depth))
				case in:
					inside++
				}
			}
		}
		if worst > margin/3 || inside == 0 {
			t.Errorf("resolution %d: off by %.2g rad, margin is %.2g; %d positions inside", res, worst, margin, inside)
		}
	}
}

func TestRiderCrossesABorderWithEveryPing(t *testing.T) {
	rng := rand.New(rand.NewPCG(13, 14))
	for _, res := range []int{5, 8} {
		cells, err := NewCells(res)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			// To and fro over a corner where three cells meet.
			home := cellAt(rng.Float64()*360-180, rng.Float64()*160-80, res)
			corner, c := corners(home)[0], centre(home)
			last, crossed := uint64(0), 0
			for i := range 300 {
				angle := float64(i) * 2.1
				d := math.Abs(corner[1]-c[1])/4 + 1e-3
				f := fix(t, corner[1]+d*math.Sin(angle), math.Mod(corner[0]+540+d*math.Cos(angle), 360)-180)
				got := cells.Of(f)
				if want := cells.Exact(f); got != want {
					t.Fatalf("%v,%v lies in %x, H3 says %x", f.Lat(), f.Lon(), got, want)
				}
				if got != last {
					crossed++
				}
				last = got
			}
			if crossed < 150 {
				t.Fatalf("crossed a border with %d of 300 pings", crossed)
			}
		}
	}
}

func TestCellsAreSafeForConcurrentUse(t *testing.T) {
	cells, err := NewCells(7)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 1))
			for range 20_000 {
				f := &pingline.Fix{LatE7: 41e7 + rng.Int32N(2e6), LonE7: -8e7 - rng.Int32N(2e6)}
				if got, want := cells.Of(f), cells.Exact(f); got != want {
					t.Errorf("%v,%v lies in %x, H3 says %x", f.Lat(), f.Lon(), got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMovingRiderNeedsNoCall(t *testing.T) {
	cells, err := NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	c := newCities(t, 30, 20_000)
	calls := 0
	for i := range 100_000 {
		f := &c.next().Fix
		if i >= 40_000 && cells.regions.find(cells.regions.square(f), f) == 0 {
			calls++
		}
		cells.Of(f)
	}
	if calls > 600 {
		t.Errorf("%d of 60,000 pings in 30 cities needed a call", calls)
	}
	f := &c.next().Fix
	cells.Of(f)
	cells.Of(f)
	if n := testing.AllocsPerRun(100, func() { cells.Of(f) }); n != 0 {
		t.Errorf("%v allocations for a known cell", n)
	}
}
