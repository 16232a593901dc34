package track

import (
	"math"
	"math/rand/v2"
	"testing"

	"pingline"
)

func fix(at int64, lat, lon float64) *pingline.Fix {
	return &pingline.Fix{At: at, LatE7: int32(math.Round(lat * pingline.E7)), LonE7: int32(math.Round(lon * pingline.E7))}
}

func TestPathOff(t *testing.T) {
	const degree = 111195.08 // metres of a great circle
	for _, tt := range []struct {
		name   string
		points []*pingline.Fix
		ping   *pingline.Fix
		want   float64
	}{
		{"no point", nil, fix(0, 1, 1), math.Inf(1)},
		{"one point", []*pingline.Fix{fix(5, 1, 1)}, fix(9, 2, 1), degree},
		{"on a point", []*pingline.Fix{fix(5, 1, 1), fix(6, 2, 1)}, fix(6, 2, 1), 0},
		{"half way in time", []*pingline.Fix{fix(0, 1, 1), fix(10, 3, 1)}, fix(5, 2, 1), 0},
		{"on the line, but early", []*pingline.Fix{fix(0, 1, 1), fix(10, 2, 1)}, fix(2, 1.5, 1), 0.3 * degree},
		{"beside the line", []*pingline.Fix{fix(0, 1, 0), fix(10, -1, 0)}, fix(5, 0, 2), 2 * degree},
		{"before the first", []*pingline.Fix{fix(5, 1, 1), fix(6, 9, 1)}, fix(0, 2, 1), degree},
		{"behind the last", []*pingline.Fix{fix(5, 9, 1), fix(6, 1, 1)}, fix(7, 2, 1), degree},
		{"added in disorder", []*pingline.Fix{fix(10, 3, 1), fix(0, 1, 1), fix(20, 9, 1)}, fix(5, 2, 1), 0},
		{"the nearer of one instant", []*pingline.Fix{fix(0, 1, 1), fix(5, 9, 1), fix(5, 3, 1), fix(9, 1, 1)}, fix(5, 2, 1), degree},
		{"over the antimeridian", []*pingline.Fix{fix(0, 0.5, 179), fix(10, 0.5, -179)}, fix(5, 0.5, 180), 0},
		{"and back", []*pingline.Fix{fix(0, 0.5, -179), fix(10, 0.5, 179)}, fix(5, 0.5, -180), 0},
		{"a whole turn away", []*pingline.Fix{fix(0, 1, 180)}, fix(0, 1, -180), 0},
		{"the poles", []*pingline.Fix{fix(0, 90, 0)}, fix(0, -90, 0), 180 * degree},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p Path
			for _, f := range tt.points {
				p.Add(f)
			}
			if got := p.Off(tt.ping); got != tt.want && math.Abs(got-tt.want) > 1e-6*degree {
				t.Errorf("%v m off, want %v", got, tt.want)
			}
		})
	}
}

// Another formula for the same distance: the chord through the globe.
func TestGreatCircleIsTheChordsArc(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		a := fix(0, rng.Float64()*180-90, rng.Float64()*360-180)
		b := fix(0, rng.Float64()*180-90, rng.Float64()*360-180)
		if rng.IntN(2) == 0 {
			b.LatE7, b.LonE7 = a.LatE7+rng.Int32N(2001)-1000, a.LonE7+rng.Int32N(2001)-1000
		}
		var chord float64
		for _, d := range [...]float64{
			math.Cos(a.Lat()*math.Pi/180)*math.Cos(a.Lon()*math.Pi/180) - math.Cos(b.Lat()*math.Pi/180)*math.Cos(b.Lon()*math.Pi/180),
			math.Cos(a.Lat()*math.Pi/180)*math.Sin(a.Lon()*math.Pi/180) - math.Cos(b.Lat()*math.Pi/180)*math.Sin(b.Lon()*math.Pi/180),
			math.Sin(a.Lat()*math.Pi/180) - math.Sin(b.Lat()*math.Pi/180),
		} {
			chord += d * d
		}
		want := 2 * earth * math.Asin(min(1, math.Sqrt(chord)/2))
		var p Path
		p.Add(a)
		if got := p.Off(b); math.Abs(got-want) > 1e-6+1e-7*want {
			t.Fatalf("%v to %v: %v m, the chord's arc is %v m", a, b, got, want)
		}
	}
}

func TestPathLongestGap(t *testing.T) {
	var p Path
	for _, step := range []struct{ at, want int64 }{{100, 0}, {110, 10}, {105, 5}, {140, 30}, {65, 35}, {140, 35}} {
		p.Add(fix(step.at, 1, 1))
		if got := p.LongestGap(); got != step.want {
			t.Errorf("with a point at %d: longest gap %d ms, want %d", step.at, got, step.want)
		}
	}
}
