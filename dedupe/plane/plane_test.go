package plane

import (
	"math"
	"math/rand/v2"
	"testing"
)

// walk returns a vertex and spots that follow it, some metres from a straight way, on
// a random place of the globe where the plane carries.
func walk(rng *rand.Rand, n int) []Spot {
	lat, lon := -80+160*rng.Float64(), -180+360*rng.Float64()
	north, east := rng.NormFloat64()*10, rng.NormFloat64()*10 // metres a second
	spots := make([]Spot, n)
	for i := range spots {
		y := lat + (north*float64(i)+rng.NormFloat64()*4)/111e3
		x := lon + (east*float64(i)+rng.NormFloat64()*4)/111e3/math.Cos(lat*math.Pi/180)
		spots[i] = Spot{At: 1_760_000_000_000 + 1000*int64(i), Lat: int32(y * 1e7), Lon: int32(math.Remainder(x, 360) * 1e7)}
	}
	return spots
}

// A chord that the polygon contains passes each ping within its bound, from either end.
func TestContainedChordPassesAll(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	contained, not := 0, 0
	for range 3000 {
		spots := walk(rng, 3+rng.IntN(20))
		vertex, end := spots[0], spots[len(spots)-1]
		if rng.IntN(2) == 0 {
			vertex, end = end, vertex
		}
		between := spots[1 : len(spots)-1]
		frame, poly, eps := FrameAt(vertex.Lat), Open, make([]float64, len(between))
		for i, p := range between {
			eps[i] = 5 + 10*rng.Float64()
			poly.Narrow(frame.Velocity(vertex, p), eps[i], p.At-vertex.At)
		}
		if !frame.Carries(vertex, end) {
			t.Fatalf("the plane around %+v does not carry to %+v", vertex, end)
		}
		if !poly.Contains(frame.Velocity(vertex, end)) {
			not++
			continue
		}
		contained++
		for i, p := range between {
			if from, to := spots[0], spots[len(spots)-1]; !OnLine(from, to, p, eps[i]) {
				t.Fatalf("the chord from %+v to %+v is contained, and %+v is more than %.2f m off", from, to, p, eps[i])
			}
		}
	}
	if contained < 300 || not < 300 {
		t.Errorf("%d chords are contained and %d are not, want at least 300 of each", contained, not)
	}
}

func TestOpenPolygonContainsAll(t *testing.T) {
	for _, v := range []Vec{{}, {1e9, -1e9}, {-0.1, math.MaxFloat32}} {
		if !Open.Contains(v) {
			t.Errorf("%+v is not contained", v)
		}
	}
	p := Open
	if p.Narrow(Vec{}, -1, 1); p.Contains(Vec{}) {
		t.Error("a polygon with a negative bound contains a chord")
	}
}

func TestCarries(t *testing.T) {
	at := func(lat, lon float64) Spot { return Spot{Lat: int32(lat * 1e7), Lon: int32(lon * 1e7)} }
	for _, tt := range []struct {
		name     string
		from, to Spot
		want     bool
	}{
		{"a hundred metres", at(41, -8), at(41.001, -8), true},
		{"over the date line", at(-17.5, 179.9999), at(-17.5, -179.9999), true},
		{"far to the north", at(41, -8), at(41.2, -8), false},
		{"a quarter round the globe", at(0, 0), at(0, 90.1), false},
		{"near a pole", at(84.9999, 0), at(85.0001, 0), false},
		{"at a pole", at(90, 0), at(90, 0), false},
	} {
		if got := FrameAt(tt.from.Lat).Carries(tt.from, tt.to); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestNearAndOnLine(t *testing.T) {
	a := Spot{At: 0, Lat: 10, Lon: 179_9999_000}
	b := Spot{At: 1000, Lat: 10, Lon: -179_9999_000}
	middle := Spot{At: 500, Lat: 10, Lon: 180 * 1e7}
	if !OnLine(a, b, middle, 0.1) || OnLine(a, b, middle, 0) || OnLine(a, b, Spot{At: 250, Lat: 10, Lon: 180 * 1e7}, 0.1) {
		t.Error("the line over the date line is not where it should be")
	}
	if !Near(a, b, 23) || Near(a, b, 22) || Near(a, a, 0) {
		t.Error("200 times 1e-7 degree of the equator are not about 22.2 m")
	}
	half := Spot{At: 1000, Lat: 10, Lon: -1000}
	if OnLine(a, half, middle, 1e7) {
		t.Error("a line half round the globe is taken to go one way")
	}
}
