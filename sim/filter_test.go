package sim

import (
	"testing"
	"time"

	"pingline/sim/handset"
	"pingline/sim/simtest"
)

// The filter keeps as much of a city as of recorded tracks: of a walker, who is slow and
// stays long, it keeps less.
func TestFilterKeepsAsMuchAsOfRecordedTracks(t *testing.T) {
	usual := [2][2]float64{{0.04, 0.15}, {0.2, 0.55}}
	for _, tt := range []struct {
		name string
		cfg  CityConfig
		want [2][2]float64 // at 1 Hz and at 5 s
	}{
		{"the default city", CityConfig{Seed: 1}, usual},
		{"of another seed", CityConfig{Seed: 77}, usual},
		{"cars", CityConfig{Seed: 1, Mix: handset.Mix{handset.Car: 1}, Cover: true}, usual},
		{"couriers", CityConfig{Seed: 1, Mix: handset.Mix{handset.Courier: 1}, Cover: true}, usual},
		{"walkers", CityConfig{Seed: 1, Mix: handset.Mix{handset.Walker: 1}, Cover: true}, [2][2]float64{{0.02, 0.15}, {0.1, 0.55}}},
		{"buses", CityConfig{Seed: 1, Mix: handset.Mix{handset.Bus: 1}, Cover: true}, usual},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t, tt.cfg)
			for n, interval := range []time.Duration{time.Second, 5 * time.Second} {
				share := simtest.KeptShare(t, c, 250, interval, 30*time.Minute)
				t.Logf("%.3f of a ping every %v", share, interval)
				if want := tt.want[n]; !(share >= want[0] && share <= want[1]) {
					t.Errorf("the filter keeps %.3f of a ping every %v, not %v", share, interval, want)
				}
			}
		})
	}
}
