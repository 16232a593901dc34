package main

import (
	"math"
	"testing"
	"time"

	"pingline/track/tracktest"
)

// The table of what is kept, on the tracks it was measured on: of each interval
// it has the set of which more is kept.
func TestKeptIsMeasured(t *testing.T) {
	often, rarely := tracktest.Recorded(t, tracktest.EverySecond), tracktest.Recorded(t, tracktest.EveryFew)
	for _, interval := range []time.Duration{1, 5, 10, 15, 20, 30, 60} {
		interval *= time.Second
		want := plans(t, "--riders=1000", "--interval="+interval.String()).Kept
		most := 0.0
		for _, set := range []tracktest.Set{often, rarely} {
			if set == rarely && interval < 5*time.Second {
				continue // they send too rarely
			}
			got := plans(t, "--riders=1000", "--interval="+interval.String(), "--track="+set.Path)
			t.Logf("%v: %.3f of %s", interval, got.Kept, set.Name())
			most = math.Max(most, got.Kept)
		}
		if most > want+0.005 || most < want-0.01 {
			t.Errorf("of a ping in %v %.3f is kept, the table has %.3f", interval, most, want)
		}
	}
}
