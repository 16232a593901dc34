package sim

import (
	"math"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sim/handset"
)

func concertCity(t testing.TB, share float64) *City {
	return newCity(t, CityConfig{
		Seed: 6, Radius: 6000,
		Mix:     handset.Mix{handset.Car: 0.5, handset.Courier: 0.2, handset.Walker: 0.2, handset.Bus: 0.1},
		Concert: Concert{Lat: 41.17, Lon: -8.62, End: time.UnixMilli(monday), Share: share},
	})
}

// guests returns how many of the first n riders are within metres of the stadium.
func guests(c *City, n int, at int64, metres float64) (in int) {
	for i := range n {
		m := c.motion(i, at)
		if math.Hypot(m.x-float64(c.stadium.x)*block, m.y-float64(c.stadium.y)*block) <= metres {
			in++
		}
	}
	return in
}

func TestConcertFillsOneCellAndEmptiesIt(t *testing.T) {
	c := concertCity(t, 0.4)
	const riders = 4000
	minutes := []time.Duration{-3 * time.Hour, -time.Minute, 0, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, 3 * time.Hour}
	var in []float64
	for _, d := range minutes {
		in = append(in, float64(guests(c, riders, monday+d.Milliseconds(), stadiumRadius+1))/riders)
	}
	t.Logf("share of the riders in the stadium after %v: %.3f", minutes, in)
	usual := float64(guests(concertCity(t, 0), riders, monday, stadiumRadius+1)) / riders
	for n, want := range [][2]float64{{0.33, 0.4}, {0.33, 0.4}, {0.33, 0.4}, {0.15, 0.3}, {0.1, 0.2}, {0, 0.05}, {usual, usual + 0.01}, {0, usual + 0.01}} {
		if in[n] < want[0]-0.005 || in[n] > want[1] {
			t.Errorf("%.3f of the riders are in the stadium %v after its end, not %v", in[n], minutes[n], want)
		}
	}
	// Of the cells of 0.1 km² at most four touch the stadium.
	cells, err := partition.NewCells(9)
	if err != nil {
		t.Fatal(err)
	}
	hot, pings := map[uint64]int{}, 0
	for i := range riders {
		if r := c.rider(c.phones.Owner(i)); r.line || unit(draw(r.key, forConcert, 0)) >= 0.4 {
			continue
		}
		p := c.Ping(i, monday-5000, monday)
		hot[cells.Of(&p.Fix)]++
		pings++
	}
	if len(hot) > 4 || pings < riders/4 {
		t.Errorf("%d guests are in the cells %v", pings, hot)
	}
}

// A guest moves without a jump from its seat into its usual life, and its trips have
// a start and an end.
func TestGuestsGoHome(t *testing.T) {
	c, usual := concertCity(t, 1), concertCity(t, 0)
	modes := map[handset.Mode]int{}
	for i := 0; i < 120; i += 2 {
		mode := c.phones.ModeOf(i)
		if mode == handset.Bus {
			continue
		}
		modes[mode]++
		was, open, back := c.motion(i, monday-1000), "", int64(0)
		for s := range int64(9000) {
			at := monday + s*1000
			m, other := c.motion(i, at), usual.motion(i, at)
			if moved := math.Hypot(m.x-was.x, m.y-was.y); moved > max(m.speed, was.speed)+4 {
				t.Fatalf("%v %d moves %.1f m in a second, %d s after the end: from %+v to %+v", mode, i, moved, s, was, m)
			}
			if p := c.Ping(i, at-1000, at); p.Event != "" {
				if p.Event == "trip_start" && open != "" || p.Event == "trip_end" && p.Trip != open {
					t.Fatalf("%v %d: %s of %s while %q is open, %d s after the end", mode, i, p.Event, p.Trip, open, s)
				}
				if open = p.Trip; p.Event == "trip_end" {
					open = ""
				}
			}
			if m.x != other.x || m.y != other.y {
				back = s
			}
			was = m
		}
		if back < 60 || back > 2*3600 {
			t.Errorf("%v %d is back in its usual life %d s after the end", mode, i, back)
		}
	}
	if len(modes) != 3 {
		t.Errorf("guests of modes %v", modes)
	}
}

func TestConcertIsPure(t *testing.T) {
	a, b := concertCity(t, 0.5), concertCity(t, 0.5)
	var trip pingline.Ping
	for i := range 500 {
		for s := int64(-600); s < 3600; s += 37 {
			trip = a.Ping(i, monday+s*1000-5000, monday+s*1000)
			if other := b.Ping(i, monday+s*1000-5000, monday+s*1000); other != trip {
				t.Fatalf("phone %d: %+v and %+v", i, trip, other)
			}
		}
	}
}
