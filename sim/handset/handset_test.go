package handset

import (
	"math"
	"strings"
	"testing"

	"pingline"
)

const monday = 1_767_600_000_000

func newHandsets(t testing.TB, cfg Config) *Handsets {
	t.Helper()
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestMixIsReadAndWritten(t *testing.T) {
	for text, want := range map[string]Mix{
		"car=0.7,courier=0.2,walk=0.1": {Car: 0.7, Courier: 0.2, Walker: 0.1},
		"bus=1":                        {Bus: 1},
		"car=7, bus=3":                 {Car: 7, Bus: 3},
	} {
		var m Mix
		if err := m.UnmarshalText([]byte(text)); err != nil || m != want {
			t.Errorf("%q is read as %v, %v", text, m, err)
		}
		again, err := m.MarshalText()
		if err != nil || string(again) != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%q is written as %q, %v", text, again, err)
		}
	}
}

func TestMixRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                "not a mode and its share",
		"car":             "not a mode and its share",
		"plane=1":         `"plane" is not one of car, courier, walk, bus`,
		"car=1,car=2":     "car has two shares",
		"car=a":           `share "a" of car`,
		"car=NaN":         `share "NaN" of car`,
		"car=-1":          "mix of car=-1",
		"car=+Inf":        "mix of car=+Inf",
		"car=1e7":         "mix of car=1e+07",
		"car=0,walk=0":    "without riders",
		"car=0.5;walk=.5": `share "0.5;walk=.5" of car`,
	} {
		m := Mix{Bus: 1}
		if err := m.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if m != (Mix{Bus: 1}) {
			t.Errorf("%q: refused, and taken as %v", text, m)
		}
	}
}

func FuzzMix(f *testing.F) {
	f.Add("car=0.7,courier=0.2")
	f.Fuzz(func(t *testing.T, text string) {
		var m, again Mix
		if m.UnmarshalText([]byte(text)) != nil {
			return
		}
		out, err := m.MarshalText()
		if err != nil || again.UnmarshalText(out) != nil || again != m {
			t.Errorf("%q is %v, written as %q and read as %v", text, m, out, again)
		}
	})
}

func TestKindsHaveTheirShares(t *testing.T) {
	for _, mix := range []Mix{{}, {Walker: 1}, {Car: 7, Courier: 2, Bus: 1}, {Car: 1e-5, Bus: 1e6}} {
		h := newHandsets(t, Config{Seed: 2, Mix: mix})
		var n, sum [Modes]float64
		const riders = 50_000
		for i := range riders {
			n[h.ModeOf(i)] += 1.0 / riders
		}
		if mix == (Mix{}) {
			mix[Car] = 1
		}
		total := mix[0] + mix[1] + mix[2] + mix[3]
		for mode := range Modes {
			if sum[mode] = mix[mode] / total; math.Abs(n[mode]-sum[mode]) > 0.01 {
				t.Errorf("%v: %v of the riders, want %v", mix, n, sum)
			}
		}
	}
}

// Two fixes in three are as near as they say, under every sky but that of a parked car.
func TestReceiversErrAsTheySay(t *testing.T) {
	h, chart := newHandsets(t, Config{Seed: 3}), NewChart(41.2, -8.6)
	for sky, want := range [...]struct{ least, most, off float64 }{
		Open: {3, 30, 3.5}, Parked: {7.5, 75, 3.5}, Indoors: {12, 120, 14}, Shaded: {18, 150, 21}, Hidden: {36, 150, 40},
	} {
		var within, n, off float64
		for i := range 200 {
			for s := range int64(200) {
				f := pingline.Fix{At: monday + s*9000}
				h.Receive(&f, i, &chart, &Motion{East: 4000, North: -3000, Sky: Sky(sky)})
				if a := float64(f.Accuracy); a < want.least-0.06 || a > want.most+0.06 {
					t.Fatalf("sky %d: accuracy %g m, not in [%g, %g]", sky, a, want.least, want.most)
				}
				east, north := chart.Metres(f.Lat(), f.Lon())
				d := math.Hypot(east-4000, north+3000)
				if d <= float64(f.Accuracy) {
					within++
				}
				off += d
				n++
			}
		}
		t.Logf("sky %d: %.1f m off, %.2f within their accuracy", sky, off/n, within/n)
		if share := within / n; share < 0.6 || share > 0.85 && sky != int(Parked) {
			t.Errorf("sky %d: %.2f of the fixes are within their accuracy", sky, share)
		}
		if mean := off / n; math.Abs(mean-want.off) > want.off/3 {
			t.Errorf("sky %d: %.1f m off, want about %g", sky, mean, want.off)
		}
	}
}

func TestHeadingsAreCompassBearings(t *testing.T) {
	h, chart := newHandsets(t, Config{}), NewChart(0, 0)
	for _, heading := range []float64{-720, -359.99, -1, 0, 1, 359.99, 720} {
		for i := range 500 {
			f := pingline.Fix{At: monday}
			h.Receive(&f, i, &chart, &Motion{Speed: 5, Heading: heading})
			if off := math.Remainder(float64(f.Heading)-heading, 360); !f.Has(pingline.HasHeading) || f.Heading < 0 || f.Heading > 360 || math.Abs(off) > 4 {
				t.Fatalf("heading %g is received as %v", heading, f)
			}
		}
	}
}

func TestFrameIsThereAndBack(t *testing.T) {
	for _, at := range [][2]float64{{0, 0}, {41, -8}, {-33, 151}, {65, 179.99}, {65, -179.99}, {79, 20}} {
		chart := NewChart(at[0], at[1])
		for _, m := range [][2]float64{{0, 0}, {10_000, 0}, {0, -10_000}, {-25_000, 31_000}} {
			var f pingline.Fix
			chart.Place(&f, m[0], m[1])
			east, north := chart.Metres(f.Lat(), f.Lon())
			if math.Hypot(east-m[0], north-m[1]) > 0.02 {
				t.Errorf("%v from %v: placed at %v,%v, which is %g,%g", m, at, f.Lat(), f.Lon(), east, north)
			}
		}
	}
}

func TestTripNamesAreMadeOnce(t *testing.T) {
	name := TripName("", 12, 345)
	if name != "t-12-345" || TripName("t-12-344", 12, 345) != name {
		t.Errorf("trip 345 of rider 12 is %q", name)
	}
	if n := testing.AllocsPerRun(100, func() { TripName(name, 12, 345) }); n > 0 {
		t.Errorf("%v allocations for a name that is there", n)
	}
}
