package roads

import (
	"math"
	"runtime"
	"testing"
	"time"

	"pingline"
	"pingline/sim"
	"pingline/sim/handset"
	"pingline/sim/simtest"
)

var _ sim.Phones = (*Town)(nil)

const monday = simtest.Monday

func newTown(t testing.TB, cfg TownConfig) *Town {
	t.Helper()
	if cfg.Network == nil {
		cfg.Network = grid(40, 40).network(t)
	}
	town, err := NewTown(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return town
}

// townOf returns a town in which all riders are of one mode.
func townOf(t testing.TB, mode handset.Mode, cfg TownConfig) *Town {
	cfg.Mix = handset.Mix{}
	cfg.Mix[mode] = 1
	return newTown(t, cfg)
}

func TestTownIsPure(t *testing.T) {
	mix := handset.Mix{handset.Car: 4, handset.Courier: 3, handset.Walker: 2, handset.Bus: 1}
	a, b := newTown(t, TownConfig{Seed: 7, Mix: mix, Cover: true, Riders: 1000}), newTown(t, TownConfig{Seed: 7, Mix: mix, Cover: true, Riders: 1000})
	other := newTown(t, TownConfig{Seed: 8, Mix: mix, Cover: true, Riders: 1000})
	equal, n := 0, 0
	for i := range 300 {
		for s := int64(0); s < 3600; s += 60 {
			var p, q, r pingline.Ping
			at := monday + s*1000
			okP, okQ := a.Update(&p, i, at-5000, at), b.Update(&q, i, at-5000, at)
			if okP != okQ || okP && p != q {
				t.Fatalf("phone %d at %d: %+v and %+v", i, at, p, q)
			}
			if other.Update(&r, i, at-5000, at); p.SamePlace(&r.Fix) {
				equal++
			}
			n++
		}
	}
	if equal > n/100 {
		t.Errorf("%d of %d positions of another seed are the same", equal, n)
	}
}

func TestTownIsAsEver(t *testing.T) {
	mix := handset.Mix{handset.Car: 4, handset.Courier: 3, handset.Walker: 2, handset.Bus: 1}
	for _, tt := range []struct {
		name, hash string
		cfg        TownConfig
	}{
		{"cars", "6b2e0146c49ce3b3", TownConfig{Seed: 7, Riders: 1000}},
		{"all modes", "e74b1eb5937f41e1", TownConfig{Seed: 7, Riders: 1000, Mix: mix, Cover: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simtest.Same(t, newTown(t, tt.cfg), newTown(t, tt.cfg), tt.hash)
		})
	}
}

func TestTownMovesAsItsModesDo(t *testing.T) {
	for mode, want := range [handset.Modes]struct{ driving, speed, most [2]float64 }{
		handset.Car:     {[2]float64{0.35, 0.7}, [2]float64{4, 9}, [2]float64{8, 14}},
		handset.Courier: {[2]float64{0.35, 0.7}, [2]float64{2.5, 5.5}, [2]float64{4, 7}},
		handset.Walker:  {[2]float64{0.35, 0.7}, [2]float64{0.8, 1.5}, [2]float64{1.1, 1.5}},
		handset.Bus:     {[2]float64{0.35, 0.8}, [2]float64{3, 6}, [2]float64{8, 14}},
	} {
		t.Run(handset.Mode(mode).String(), func(t *testing.T) {
			town := townOf(t, handset.Mode(mode), TownConfig{Seed: 3, Riders: 2000})
			all, driving, way, most := 0, 0, 0.0, 0.0
			for i := 0; i < 300; i += 2 {
				was := town.Scene(i, monday)
				for s := int64(1); s < 3600; s++ {
					now := town.Scene(i, monday+s*1000)
					moved := math.Hypot(now.East-was.East, now.North-was.North)
					if limit := max(now.Speed, was.Speed) + gears[mode].accel; moved > limit+0.05 {
						t.Fatalf("rider %d moved %.2f m in a second at %.2f and %.2f m/s", i, moved, was.Speed, now.Speed)
					}
					if change := math.Abs(now.Speed - was.Speed); change > 2*gears[mode].accel+0.05 {
						t.Fatalf("rider %d changed speed by %.2f m/s in a second", i, change)
					}
					all++
					if now.Event == "trip_start" {
						driving++
						way += moved
					}
					most = max(most, now.Speed)
					was = now
				}
			}
			for _, v := range []struct {
				name string
				v    float64
				want [2]float64
			}{
				{"share of the time on a trip", float64(driving) / float64(all) / 0.75, want.driving},
				{"m/s on it", way / float64(driving), want.speed},
				{"m/s at most", most, want.most},
			} {
				t.Logf("%s: %.2f", v.name, v.v)
				if !(v.v >= v.want[0] && v.v <= v.want[1]) {
					t.Errorf("%s: %.2f, not in %v", v.name, v.v, v.want)
				}
			}
		})
	}
}

// Every rider is on a street, at all times.
func TestRidersKeepToTheStreets(t *testing.T) {
	net := grid(14, 11).network(t)
	town := newTown(t, TownConfig{Network: net, Seed: 5, Riders: 500, Mix: handset.Mix{1, 1, 1, 1}})
	for i := range 400 {
		s := town.Scene(i, monday+int64(i)*7919)
		off := math.Inf(1)
		for v := range net.at {
			for _, e := range net.edges[net.first[v]:net.first[v+1]] {
				off = min(off, offStreet(s.East, s.North, net.at[v], net.at[e.to]))
			}
		}
		if off > 0.1 {
			t.Fatalf("rider %d is %.1f m off the streets: %+v", i, off, s)
		}
	}
}

func offStreet(x, y float64, a, b corner) float64 {
	dx, dy := float64(b.east-a.east), float64(b.north-a.north)
	u := ((x-float64(a.east))*dx + (y-float64(a.north))*dy) / (dx*dx + dy*dy)
	u = min(max(u, 0), 1)
	return math.Hypot(x-float64(a.east)-u*dx, y-float64(a.north)-u*dy)
}

func TestTownTellsEachEdgeOfATripOnce(t *testing.T) {
	town := newTown(t, TownConfig{Seed: 2, Riders: 1000, Mix: handset.Mix{1, 1, 1, 1}, Cover: true})
	starts, ends, hidden, n := 0, 0, 0, 0
	for i := 0; i < 240; i += 2 {
		if town.phones.Owner(i) != i {
			continue
		}
		open, seen := "", false
		for s := range int64(2400) {
			at := monday + s*3000
			var p pingline.Ping
			n++
			if !town.Update(&p, i, at-3000, at) {
				hidden++
				continue
			}
			switch {
			case p.Event == "trip_start":
				if open != "" {
					t.Fatalf("phone %d: trip %s starts within %s", i, p.Trip, open)
				}
				open, seen = p.Trip, true
				starts++
			case p.Event == "trip_end":
				if p.Trip != open && seen {
					t.Fatalf("phone %d: trip %s ends within %q", i, p.Trip, open)
				}
				open, seen = "", true
				ends++
			case p.Trip != open && seen:
				t.Fatalf("phone %d: trip %q within %q", i, p.Trip, open)
			}
		}
	}
	if starts < 500 || ends < starts-240 {
		t.Errorf("%d trips start and %d end", starts, ends)
	}
	if share := float64(hidden) / float64(n); share < 0.0005 || share > 0.08 {
		t.Errorf("%.4f of the pings are lost in tunnels", share)
	}
}

// A long stay of bad fixes after a tunnel ends where the chart says.
func TestFixesArePoorAfterATunnel(t *testing.T) {
	town := townOf(t, handset.Car, TownConfig{Seed: 4, Riders: 1000, Cover: true})
	shaded, skies := 0.0, map[handset.Sky]int{}
	for i := 0; i < 300; i += 2 {
		was := town.Scene(i, monday)
		for s := int64(1); s < 2400; s++ {
			now := town.Scene(i, monday+s*1000)
			skies[now.Sky]++
			if now.Sky != handset.Shaded {
				if shaded > shade+16 {
					t.Fatalf("rider %d has poor fixes for %.0f m", i, shaded)
				}
				shaded = 0
			} else {
				if was.Sky != handset.Shaded && was.Sky != handset.Hidden {
					t.Fatalf("rider %d has poor fixes without a tunnel: sky %d, then %d", i, was.Sky, now.Sky)
				}
				shaded += math.Hypot(now.East-was.East, now.North-was.North)
			}
			was = now
		}
	}
	if skies[handset.Hidden] == 0 || skies[handset.Shaded] == 0 {
		t.Errorf("seconds of each sky: %v", skies)
	}
}

func TestFilterKeepsAsMuchOfATownAsOfRecordedTracks(t *testing.T) {
	usual := [2][2]float64{{0.04, 0.15}, {0.2, 0.55}}
	for _, tt := range []struct {
		name string
		mix  handset.Mix
		want [2][2]float64 // at 1 Hz and at 5 s
	}{
		{"cars", handset.Mix{handset.Car: 1}, usual},
		{"couriers", handset.Mix{handset.Courier: 1}, usual},
		{"walkers", handset.Mix{handset.Walker: 1}, [2][2]float64{{0.02, 0.15}, {0.1, 0.55}}},
		{"buses", handset.Mix{handset.Bus: 1}, usual},
	} {
		t.Run(tt.name, func(t *testing.T) {
			town := newTown(t, TownConfig{Seed: 1, Mix: tt.mix, Cover: true, Riders: 2000})
			for n, interval := range []time.Duration{time.Second, 5 * time.Second} {
				share := simtest.KeptShare(t, town, 250, interval, 30*time.Minute)
				t.Logf("%.3f of a ping every %v", share, interval)
				if want := tt.want[n]; !(share >= want[0] && share <= want[1]) {
					t.Errorf("the filter keeps %.3f of a ping every %v, not %v", share, interval, want)
				}
			}
		})
	}
}

func TestNewTownRefuses(t *testing.T) {
	net := grid(6, 6).network(t)
	paths := &drawn{nodes: grid(6, 6).nodes}
	for _, w := range grid(6, 6).ways {
		paths.ways = append(paths.ways, drawnWay{w.nodes, [][2]string{{"highway", "footway"}}})
	}
	for name, cfg := range map[string]TownConfig{
		"no network":         {},
		"negative riders":    {Network: net, Riders: -1},
		"no interval":        {Network: net, Interval: time.Microsecond},
		"no shares":          {Network: net, Mix: handset.Mix{handset.Car: -1}},
		"cars on footpaths":  {Network: paths.network(t)},
		"buses on footpaths": {Network: paths.network(t), Mix: handset.Mix{handset.Bus: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := NewTown(t.Context(), cfg); err == nil {
				t.Errorf("NewTown(%+v) is a town", cfg)
			}
		})
	}
	if _, err := NewTown(t.Context(), TownConfig{Network: paths.network(t), Mix: handset.Mix{handset.Walker: 1}}); err != nil {
		t.Errorf("walkers on footpaths: %v", err)
	}
}

// A million riders share the ways of a town: it takes no more than one of 20,000.
func TestAMillionRidersShareTheirWays(t *testing.T) {
	net := grid(60, 60).network(t)
	mix := handset.Mix{handset.Car: 0.5, handset.Courier: 0.2, handset.Walker: 0.2, handset.Bus: 0.1}
	size := func(riders int) float64 {
		before := simtest.Heap()
		town := newTown(t, TownConfig{Network: net, Riders: riders, Mix: mix})
		used := simtest.Heap() - before
		runtime.KeepAlive(town)
		return float64(used)
	}
	few, many := size(20_000), size(1_000_000)
	t.Logf("a town takes %.1f MB with 20,000 riders, %.1f MB with a million: %.1f bytes a rider", few/1e6, many/1e6, many/1e6)
	if many > 1.1*few || many > 200e6 {
		t.Errorf("a town takes %.1f MB with 20,000 riders, %.1f MB with a million", few/1e6, many/1e6)
	}
}

func BenchmarkTown(b *testing.B) {
	net := grid(120, 120).network(b)
	for name, mix := range map[string]handset.Mix{
		"cars": {handset.Car: 1},
		"mix":  {handset.Car: 0.6, handset.Courier: 0.2, handset.Walker: 0.1, handset.Bus: 0.1},
	} {
		b.Run(name, func(b *testing.B) {
			town := newTown(b, TownConfig{Network: net, Riders: 20_000, Mix: mix, Cover: true})
			simtest.Benchmark(b, town)
		})
	}
}

// BenchmarkNewTown finds the ways of a town with 14,400 crossings.
func BenchmarkNewTown(b *testing.B) {
	net := grid(120, 120).network(b)
	for b.Loop() {
		newTown(b, TownConfig{Network: net, Riders: 20_000})
	}
}
