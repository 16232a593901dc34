package sim

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sim/handset"
	"pingline/sim/simtest"
	"pingline/track"
)

const monday = simtest.Monday

func newCity(t testing.TB, cfg CityConfig) *City {
	t.Helper()
	c, err := NewCity(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// at returns what the rider does at a time, without a memory.
func (r *rider) at(ms int64) (m motion) {
	var k citySlot
	k.plan(r, ms)
	k.at(ms, &m)
	return m
}

// motion returns what a rider does at a time, without a memory.
func (c *City) motion(who int, at int64) (m motion) {
	c.follow(new(citySlot), who, at, &m)
	return m
}

func TestCityIsPure(t *testing.T) {
	a, b := newCity(t, CityConfig{Seed: 7}), newCity(t, CityConfig{Seed: 7})
	other := newCity(t, CityConfig{Seed: 8})
	const riders, moments = 50, 400
	at := func(n int) int64 { return monday + int64(n)*5000 }
	var forward [riders][moments]pingline.Ping
	for n := range moments {
		for i := range riders {
			forward[i][n] = a.Ping(i, at(n-1), at(n))
		}
	}
	equal := 0
	for i := riders - 1; i >= 0; i-- {
		for n := moments - 1; n >= 0; n-- {
			if got := b.Ping(i, at(n-1), at(n)); got != forward[i][n] {
				t.Fatalf("phone %d at %d: %+v asked later, %+v asked in order", i, at(n), got, forward[i][n])
			}
			if p := other.Ping(i, at(n-1), at(n)); p.SamePlace(&forward[i][n].Fix) {
				equal++
			}
		}
	}
	if equal > 0 {
		t.Errorf("%d positions of another seed are the same", equal)
	}
}

func TestCityIsAsEver(t *testing.T) {
	mix := handset.Mix{handset.Car: 4, handset.Courier: 3, handset.Walker: 2, handset.Bus: 1}
	for _, tt := range []struct {
		name, hash string
		cfg        CityConfig
	}{
		{"cars", "8f7f78168001bcef", CityConfig{Seed: 7}},
		{"all modes", "810ff1e98304fc92", CityConfig{Seed: 7, Mix: mix, Cover: true}},
		{"a concert", "ca017932fa78f861", CityConfig{Seed: 7, Mix: mix, Concert: Concert{End: time.UnixMilli(monday + 600_000), Share: 0.5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Same(t, newCity(t, tt.cfg), newCity(t, tt.cfg), tt.hash)
		})
	}
}

// cityOf returns a city in which all riders are of one mode.
func cityOf(t testing.TB, mode handset.Mode, cfg CityConfig) *City {
	t.Helper()
	cfg.Mix = handset.Mix{}
	cfg.Mix[mode] = 1
	return newCity(t, cfg)
}

func TestCityMovesAsItsModeDoes(t *testing.T) {
	for mode, want := range [handset.Modes]struct{ driving, speed [2]float64 }{
		handset.Car:     {[2]float64{0.45, 0.6}, [2]float64{6, 9}},
		handset.Courier: {[2]float64{0.35, 0.5}, [2]float64{2.5, 5}},
		handset.Walker:  {[2]float64{0.35, 0.55}, [2]float64{1, 1.5}},
		handset.Bus:     {[2]float64{0.5, 0.7}, [2]float64{3.5, 6}},
	} {
		t.Run(handset.Mode(mode).String(), func(t *testing.T) {
			testMoves(t, cityOf(t, handset.Mode(mode), CityConfig{Seed: 3}), want.driving, want.speed)
		})
	}
}

// testMoves follows 300 riders for an hour. Driving is the share of the time that they
// are under way, speed the mean one while they are.
func testMoves(t *testing.T, c *City, wantDriving, wantSpeed [2]float64) {
	var all, parked, driving int
	way := 0.0
	for i := range 300 {
		r := c.rider(i)
		was := r.at(monday)
		for n := int64(1); n < 3600; n++ {
			m := r.at(monday + n*1000)
			all++
			if m.parked {
				parked++
			}
			if m.driving {
				driving++
			}
			moved := math.Abs(m.x-was.x) + math.Abs(m.y-was.y)
			way += moved
			if most := max(m.speed, was.speed) + r.accel; moved > most+0.01 {
				t.Fatalf("rider %d moved %.2f m in a second at %.2f and %.2f m/s", i, moved, was.speed, m.speed)
			}
			if change := math.Abs(m.speed - was.speed); change > 2*r.accel+0.01 {
				t.Fatalf("rider %d changed speed by %.2f m/s in a second", i, change)
			}
			if m.speed < 0 || m.speed > r.maxSpeed || m.speed > 0 && !m.driving {
				t.Fatalf("rider %d at %.2f m/s, driving: %v", i, m.speed, m.driving)
			}
			if far := math.Hypot(m.x, m.y); far > c.cfg.Radius {
				t.Fatalf("rider %d is %.0f m from the centre", i, far)
			}
			was = m
		}
	}
	within := func(name string, v float64, want [2]float64) {
		t.Logf("%s %.2f", name, v)
		if !(v >= want[0] && v <= want[1]) {
			t.Errorf("%s: %.2f, not in %v", name, v, want)
		}
	}
	within("share of the time parked", float64(parked)/float64(all), [2]float64{0.13, 0.27})
	within("share of the time under way", float64(driving)/float64(all), wantDriving)
	within("m/s under way", way/float64(driving), wantSpeed)
}

func TestEveryDriveEndsInItsSlot(t *testing.T) {
	for mode := range handset.Modes {
		c := cityOf(t, mode, CityConfig{Seed: 5})
		for i := range 2000 {
			r := c.rider(i)
			for k := range int64(40) {
				end := (monday/r.slot+k)*r.slot - r.phase - 1
				m, next := r.at(end), r.at(end+1)
				if m.driving || m.x != next.x || m.y != next.y {
					t.Fatalf("%v %d at the end of slot %d: %+v, then %+v", mode, i, k, m, next)
				}
			}
		}
	}
}

func TestReceiverErrsAsItSays(t *testing.T) {
	c := newCity(t, CityConfig{Seed: 11})
	var within, n [2]int // moving or waiting, and parked
	var error2 float64
	for i := 0; i < 300; i += 2 { // even ones are nobody's second device
		r := c.rider(i)
		for s := range int64(500) {
			at := monday + s*7000
			p, m := c.Ping(i, at, at), r.at(at)
			var truth pingline.Fix
			body := c.body(&m)
			c.chart.Place(&truth, body.East, body.North)
			var place track.Path
			place.Add(&truth)
			d := place.Off(&p.Fix)
			kind := 0
			if m.parked {
				kind = 1
			}
			n[kind]++
			error2 += d * d
			if d <= float64(p.Accuracy) {
				within[kind]++
			}
			if p.Accuracy < 3 || p.Accuracy > 75 {
				t.Fatalf("accuracy %g m", p.Accuracy)
			}
		}
	}
	if share := float64(within[0]) / float64(n[0]); share < 0.6 || share > 0.85 {
		t.Errorf("%.2f of the fixes on the road are within their accuracy", share)
	}
	if share := float64(within[1]) / float64(n[1]); share < 0.95 {
		t.Errorf("%.2f of the fixes of parked phones are within their accuracy", share)
	}
	if rms := math.Sqrt(error2 / float64(n[0]+n[1])); rms < 3 || rms > 8 {
		t.Errorf("errors of %.1f m", rms)
	}
}

// TestFilterKeepsRealisticShare drops what a line between kept pings says as
// well: an offline model of what the ingester does.
func TestFilterKeepsRealisticShare(t *testing.T) {
	c := newCity(t, CityConfig{Seed: 1})
	var kept, n [3]int // waiting, parked, driving
	for i := 0; i < 400; i += 2 {
		r := c.rider(i)
		var last pingline.Ping
		var open []pingline.Ping
		for s := range int64(720) {
			at := monday + s*5000
			p, m := c.Ping(i, at-5000, at), r.at(at)
			kind := 0
			switch {
			case m.parked:
				kind = 1
			case m.driving:
				kind = 2
			}
			n[kind]++
			if s == 0 {
				last = p
			} else if !fits(&last, &p, open) {
				kept[kind]++
				last, open = open[len(open)-1], open[:0]
			}
			open = append(open, p)
		}
	}
	share := func(kind int) float64 { return float64(kept[kind]) / float64(n[kind]) }
	t.Logf("kept: %.3f waiting, %.3f parked, %.3f driving", share(0), share(1), share(2))
	if share(2) < 0.1 || share(2) > 0.5 {
		t.Errorf("kept %.3f of the pings of moving riders", share(2))
	}
	if share(0) > 0.1 || share(1) > 0.04 {
		t.Errorf("kept %.3f of the pings of waiting riders and %.3f of parked ones", share(0), share(1))
	}
}

func fits(a, b *pingline.Ping, open []pingline.Ping) bool {
	var line track.Path
	line.Add(&a.Fix)
	line.Add(&b.Fix)
	for i := range open {
		if p := &open[i]; line.Off(&p.Fix) > float64(max(10, min(50, p.Accuracy))) {
			return false
		}
	}
	return true
}

func TestTripsStartAndEnd(t *testing.T) {
	c := newCity(t, CityConfig{Seed: 2})
	starts, ends := 0, 0
	for i := 0; i < 200; i += 2 {
		open, since := "", int64(monday)
		for s := range int64(1500) {
			at := monday + s*4000
			p := c.Ping(i, since, at)
			since = at
			switch {
			case p.Event == "trip_start":
				if open != "" {
					t.Fatalf("phone %d: trip %s starts within %s", i, p.Trip, open)
				}
				open = p.Trip
				starts++
			case p.Event == "trip_end":
				if p.Trip != open && starts > 0 && open != "" {
					t.Fatalf("phone %d: trip %s ends within %s", i, p.Trip, open)
				}
				open = ""
				ends++
			case p.Event != "" || p.Trip != open && open != "":
				t.Fatalf("phone %d: event %q of trip %q within %q", i, p.Event, p.Trip, open)
			}
		}
	}
	if starts < 300 || math.Abs(float64(starts-ends)) > 100 {
		t.Errorf("%d trips started, %d ended", starts, ends)
	}
}

func TestTripEndIsToldInTheNextSlot(t *testing.T) {
	c := newCity(t, CityConfig{Seed: 2})
	for i := 0; i < 100; i += 2 {
		r := c.rider(i)
		end := (monday/r.slot)*r.slot - r.phase
		before := r.at(end - 1)
		if before.event == "" {
			continue
		}
		p := c.Ping(i, before.edge-1, end+1)
		if p.Event != "trip_end" || !strings.HasPrefix(p.Trip, "t-") {
			t.Errorf("phone %d: %q of %q after a trip that ended while it was silent", i, p.Event, p.Trip)
		}
		if p = c.Ping(i, before.edge, end+1); p.Event != "" {
			t.Errorf("phone %d: event %q told twice", i, p.Event)
		}
	}
}

func TestPingsAreValid(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lat, lon float64
	}{
		{"Porto", 0, 0},
		{"on the antimeridian", -17, 180},
		{"east of the antimeridian", 65, -179.99},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t, CityConfig{Lat: tt.lat, Lon: tt.lon})
			seconds, numbers := 0, map[pingline.Known]int{}
			for i := range 3000 {
				p := c.Ping(i, monday-5000, monday+int64(i))
				if err := checkPing(&p); err != nil {
					t.Fatalf("phone %d: %v in %+v", i, err, p)
				}
				numbers[p.Known]++
				if p.Device != "" {
					seconds++
					if owner, _ := c.Name(i - 1); owner != p.Rider {
						t.Errorf("phone %d is a device of %s, its neighbour is %s", i, p.Rider, owner)
					}
				}
			}
			if seconds < 30 || seconds > 100 {
				t.Errorf("%d of 3000 phones are second devices", seconds)
			}
			if len(numbers) != 2 {
				t.Errorf("known numbers %v: not with and without heading", numbers)
			}
		})
	}
}

func checkPing(p *pingline.Ping) error {
	var fix pingline.Fix
	errs := []error{pingline.CheckID("rider_id", p.Rider), fix.SetPosition(p.Lat(), p.Lon())}
	for field, name := range map[string]string{"device_id": p.Device, "trip_id": p.Trip} {
		if name != "" {
			errs = append(errs, pingline.CheckID(field, name))
		}
	}
	if p.Event != "" {
		errs = append(errs, pingline.CheckEvent(p.Event))
	}
	if !p.Has(pingline.HasSpeed | pingline.HasAccuracy | pingline.HasBattery) {
		errs = append(errs, errors.New("a number is missing"))
	}
	return errors.Join(errs...)
}

func TestNewCityRefuses(t *testing.T) {
	for name, cfg := range map[string]CityConfig{
		"negative riders": {Riders: -1},
		"a village":       {Radius: 100},
		"no radius":       {Radius: math.NaN()},
		"the pole":        {Lat: 89},
		"no latitude":     {Lat: math.NaN()},
		"off the globe":   {Lon: 181},
		"no interval":     {Interval: time.Microsecond},
		"no shares":       {Mix: handset.Mix{handset.Car: -1}},
		"too many guests": {Concert: Concert{Share: 1.1}},
		"a far stadium":   {Concert: Concert{Share: 0.1, Lat: 42, Lon: -8.6}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewCity(cfg); err == nil {
				t.Errorf("NewCity(%+v) is a city", cfg)
			}
		})
	}
}

func BenchmarkCity(b *testing.B) {
	mix := handset.Mix{handset.Car: 0.6, handset.Courier: 0.2, handset.Walker: 0.1, handset.Bus: 0.1}
	for _, tt := range []struct {
		name string
		cfg  CityConfig
	}{
		{"cars", CityConfig{}},
		{"mix", CityConfig{Mix: mix, Cover: true}},
		{"concert", CityConfig{Mix: mix, Concert: Concert{End: time.UnixMilli(monday), Share: 0.3}}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			tt.cfg.Riders = 10_000
			simtest.Benchmark(b, newCity(b, tt.cfg))
		})
	}
}
