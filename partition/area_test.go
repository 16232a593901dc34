package partition

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"
)

func TestOutline(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lon, lat float64
		pole     bool
	}{{"city", 28.97, 41.01, false}, {"antimeridian", 180, 20, false}, {"north pole", 0, 90, true}, {"south pole", 0, -90, true}} {
		t.Run(tt.name, func(t *testing.T) {
			for res := 2; res < 8; res++ {
				cell := cellAt(tt.lon, tt.lat, res)
				ring := Outline(cell)
				if ring[0] != ring[len(ring)-1] {
					t.Fatalf("ring is open: %v", ring)
				}
				area, west, east, top := 0.0, 1000.0, -1000.0, 0.0
				for i := 1; i < len(ring); i++ {
					a, b := ring[i-1], ring[i]
					area += (a[0]*b[1] - b[0]*a[1]) / 2 * math.Cos(tt.lat*math.Pi/180) * math.Pow(math.Pi/180, 2)
					west, east, top = min(west, a[0]), max(east, a[0]), max(top, math.Abs(a[1]))
				}
				if pole := top == 90 && east-west >= 360; pole != tt.pole || !pole && east-west > 20 {
					t.Errorf("ring from %v to %v, latitude up to %v: %v", west, east, top, ring)
				}
				want, err := h3.CellAreaRads2(h3.Cell(cell))
				if err != nil {
					t.Fatal(err)
				}
				if !tt.pole && math.Abs(area/want-1) > 0.02 {
					t.Errorf("resolution %d: ring holds %.3g, the cell %.3g: %v", res, area, want, ring)
				}
				for i, c := range corners(cell) {
					if d := math.Remainder(c[0]-ring[i][0], 360); math.Abs(d) > 1e-9 || c[1] != ring[i][1] {
						t.Errorf("corner %d is %v, want %v", i, ring[i], c)
					}
				}
			}
		})
	}
}

func TestBoxCheck(t *testing.T) {
	for _, b := range []Box{
		{-181, 0, 0, 1}, {0, -91, 1, 0}, {0, 0, 181, 1}, {0, 0, 1, 91}, {0, 2, 1, 1}, {math.NaN(), 0, 1, 1}, {0, 0, math.Inf(1), 1},
	} {
		if b.Check() == nil {
			t.Errorf("%+v passes", b)
		}
		if _, err := CellsIn(b, 5, 1000); err == nil {
			t.Errorf("CellsIn(%+v) succeeded", b)
		}
	}
}

func TestBoxContains(t *testing.T) {
	for _, tt := range []struct {
		box      Box
		lat, lon float64
		want     bool
	}{
		{Box{-10, 40, -5, 45}, 41, -8, true},
		{Box{-10, 40, -5, 45}, 41, -4, false},
		{Box{-10, 40, -5, 45}, 46, -8, false},
		{Box{170, -5, -170, 5}, 0, 180, true},
		{Box{170, -5, -170, 5}, 0, -180, true},
		{Box{170, -5, -170, 5}, 0, -171, true},
		{Box{170, -5, -170, 5}, 0, 0, false},
		{Box{-180, -90, 180, 90}, 0, 180, true},
		{Box{-180, -90, -170, 90}, 0, 180, true},
	} {
		if got := tt.box.Contains(tt.lat, tt.lon); got != tt.want {
			t.Errorf("%+v contains %v,%v: %v", tt.box, tt.lat, tt.lon, got)
		}
	}
}

func TestCellsInCoverTheBox(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	for res := 1; res <= 9; res++ {
		edge, err := h3.HexagonEdgeLengthAvgKm(res)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			size := edge / 111 * 15 * math.Pow(rng.Float64(), 3)
			box := Box{South: -90 + rng.Float64()*(180-size), West: rng.Float64()*360 - 180}
			switch i % 8 {
			case 0:
				box.South = 90 - size
			case 1:
				box.South = -90
			case 2:
				box.West = 180 - size/2
			}
			box.North = box.South + size
			wide := size / max(0.05, math.Cos((box.South+size/2)*math.Pi/180))
			box.East = math.Remainder(box.West+min(wide, 359), 360)
			list, err := CellsIn(box, res, 5000)
			if err != nil {
				t.Fatalf("%+v: %v", box, err)
			}
			in := make(map[uint64]bool)
			for _, c := range list {
				if in[c] || Res(c) != res {
					t.Fatalf("%+v: %x is given twice, or is not of resolution %d", box, c, res)
				}
				in[c] = true
			}
			hit := make(map[uint64]bool)
			for range 400 {
				lat, lon := box.South+rng.Float64()*size, math.Remainder(box.West+rng.Float64()*box.width(), 360)
				if !box.Contains(lat, lon) {
					continue // by a rounding
				}
				cell := cellAt(lon, lat, res)
				hit[cell] = true
				if !in[cell] {
					t.Fatalf("%+v: %v,%v lies in %x, not among the %d cells", box, lat, lon, cell, len(list))
				}
			}
			if len(list) > 2*len(hit)+12 {
				t.Errorf("%+v: %d cells of resolution %d, only %d of them hit", box, len(list), res, len(hit))
			}
			if _, err := CellsIn(box, res, len(list)-1); err == nil {
				t.Errorf("%+v: %d cells though at most %d were asked for", box, len(list), len(list)-1)
			}
		}
	}
}

func TestCellsOfTheGlobe(t *testing.T) {
	list, err := CellsIn(Box{-180, -90, 180, 90}, 1, 1000)
	if err != nil || len(list) != h3.NumCells(1) {
		t.Errorf("%d cells of resolution 1, want %d: %v", len(list), h3.NumCells(1), err)
	}
}

// distance is that of two circles' centres, degrees of the great circle.
func distance(a, b Circle) float64 {
	d := unit(a.Lon, a.Lat).minus(unit(b.Lon, b.Lat))
	return 2 * math.Asin(min(1, math.Sqrt(d.dot(d))/2)) * 180 / math.Pi
}

// Around every cell of the globe of a coarse resolution, and around parents of
// random cells, lies what is within it.
func TestSpreadHoldsDescendants(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	most := 0.0
	look := func(cell uint64) {
		inner := Around(cell)
		for res := range Res(cell) {
			outer := Around(Parent(cell, res))
			most = max(most, (distance(inner, outer)+inner.Radius)/outer.Radius)
		}
	}
	list, err := CellsIn(Box{-180, -90, 180, 90}, 3, 50_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, cell := range list {
		look(cell)
	}
	pentagons, err := h3.Pentagons(6)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pentagons {
		for _, n := range neighbours(uint64(p)) {
			look(uint64(n))
		}
	}
	for range 10_000 {
		look(cellAt(360*rng.Float64()-180, math.Asin(2*rng.Float64()-1)*180/math.Pi, 4+rng.IntN(8)))
	}
	t.Logf("cells reach to %.3f times the radius of their parents", most)
	if most > Spread {
		t.Errorf("a cell reaches to %.3f times the radius of a parent, more than %v", most, Spread)
	}
}

func TestBoxHolds(t *testing.T) {
	for _, tt := range []struct {
		box  Box
		c    Circle
		want bool
	}{
		{Box{-10, 40, -5, 45}, Circle{42, -8, 1}, true},
		{Box{-10, 40, -5, 45}, Circle{42, -8, 2}, false},
		{Box{-10, 40, -5, 45}, Circle{42, -8, 1.5}, false}, // 2.02 degrees of longitude
		{Box{-10, 40, -5, 45}, Circle{42, 20, 1}, false},
		{Box{170, -5, -170, 5}, Circle{0, 180, 1}, true},
		{Box{170, -5, -170, 5}, Circle{0, -179, 1}, true},
		{Box{170, -5, -170, 5}, Circle{0, -171, 2}, false},
		{Box{-180, -90, 180, 90}, Circle{89, 5, 4}, true},
		{Box{-180, 80, 180, 90}, Circle{89, 5, 4}, true},
		{Box{-180, 80, 180, 89.5}, Circle{89, 5, 4}, false},
		{Box{-180, 80, 179, 90}, Circle{89, 5, 4}, false},
		{Box{0, 0, 0, 0}, Circle{0, 0, 0.001}, false},
	} {
		if got := tt.box.Holds(tt.c); got != tt.want {
			t.Errorf("%+v holds %+v: %v", tt.box, tt.c, got)
		}
		if tt.want && !tt.box.Touches(tt.c) {
			t.Errorf("%+v does not touch %+v", tt.box, tt.c)
		}
	}
}
