package sim

import (
	"math"
	"testing"
	"time"
)

// The pings that a shape makes due within any second are as many as its rate says.
func TestShapeMakesItsRate(t *testing.T) {
	s := Shape{{0, 100}, {10 * time.Second, 1000}, {15 * time.Second, 1000}, {20 * time.Second, 50}}
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	counts, w := make([]int, 30), walk{shape: s}
	last := int64(-1)
	for k := 0; ; k++ {
		at := w.due(float64(k))
		if at < last {
			t.Fatalf("ping %d is due at %d, the one before at %d", k, at, last)
		}
		last = at
		if at >= 30e9 {
			break
		}
		counts[at/1e9]++
	}
	for sec, n := range counts {
		want := s.Rate(time.Duration(sec)*time.Second + 500*time.Millisecond)
		if math.Abs(float64(n)-want) > 2 {
			t.Errorf("second %d: %d pings, want %g", sec, n, want)
		}
	}
}

func TestShapeRefuses(t *testing.T) {
	for name, s := range map[string]Shape{
		"a late start":    {{time.Second, 1}},
		"a fall in time":  {{0, 1}, {0, 2}},
		"no rate":         {{0, 0}},
		"a negative rate": {{0, -1}},
		"not a number":    {{0, math.NaN()}},
	} {
		if s.check() == nil {
			t.Errorf("a shape with %s is taken", name)
		}
	}
}
