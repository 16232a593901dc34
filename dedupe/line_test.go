package dedupe

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pingline"
)

// The filter tells any stretch of a rider's lines, and the earliest vertices of one that
// has too many.
func TestLineOfARider(t *testing.T) {
	r := newRun(t, DefaultConfig(), Bound{MaxError: 10})
	post := func(device string, at int64, lat float64) {
		t.Helper()
		p := pingline.Ping{Rider: "a", Device: device, Fix: pingline.Fix{At: at}}
		if err := p.SetPosition(lat, 20); err != nil {
			t.Fatal(err)
		}
		r.now += time.Second
		r.judge(p)
	}
	for i := range int64(100) { // each ping is a corner
		post("", 1000+i*1000, 41+float64(i%2)/100)
	}
	for i := range int64(20) {
		post("watch", 90_500+i*1000, 42+float64(i%2)/100)
	}
	post("band", 500_000, 43)
	post("band", 400_000, 43.05) // behind the first one: held of the backlog
	for _, tt := range []struct {
		name     string
		s        Stretch
		from, to int64 // ms, of the first and the last
		n        int
	}{
		{"all", Stretch{To: math.MaxInt64, Most: 1000}, 1000, 500_000, 122},
		{"one device", Stretch{Device: "watch", To: math.MaxInt64, Most: 1000}, 90_500, 109_500, 20},
		{"a device not known", Stretch{Device: "phone", To: math.MaxInt64, Most: 1000}, 0, 0, 0},
		{"from and to", Stretch{From: 2000, To: 5000, Most: 1000}, 2000, 4000, 3},
		{"stored since", Stretch{Vertices: 99_000, To: math.MaxInt64, Most: 1000}, 99_000, 500_000, 15},
		{"held, though nothing stored waits", Stretch{Vertices: math.MaxInt64, To: math.MaxInt64, Most: 1000}, 100_000, 400_000, 3},
		{"the earliest of each", Stretch{From: 90_000, To: math.MaxInt64, Most: 4}, 90_000, 500_000, 12},
	} {
		list := r.Line(nil, "a", tt.s)
		if len(list) != tt.n {
			t.Errorf("%s: %d pings, want %d", tt.name, len(list), tt.n)
			continue
		}
		from, to := int64(math.MaxInt64), int64(0)
		seen := map[string]bool{}
		for _, e := range list {
			from, to = min(from, e.At), max(to, e.At)
			seen[fmt.Sprint(e.Device, e.At)] = true
			if e.Rider != "a" || e.Verdict != pingline.Held || e.LatE7 == 0 || e.LonE7 != 20e7 {
				t.Errorf("%s: %+v", tt.name, e)
			}
		}
		if tt.n > 0 && (from != tt.from || to != tt.to || len(seen) != tt.n) {
			t.Errorf("%s: from %d to %d, %d of %d different; want from %d to %d", tt.name, from, to, len(seen), tt.n, tt.from, tt.to)
		}
	}
	if list := r.Line(nil, "b", Stretch{To: math.MaxInt64, Most: 10}); len(list) != 0 {
		t.Errorf("of a rider not known: %v", list)
	}
}
