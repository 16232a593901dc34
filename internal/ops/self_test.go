package ops

import (
	"math"
	"testing"
)

func TestTimes(t *testing.T) {
	var s times
	if _, ok := s.take(0.99); ok {
		t.Error("nothing has a quantile")
	}
	for i := range 1000 {
		s.observe(float64(i+1) / 100)
	}
	if p99, ok := s.take(0.99); !ok || p99 < 9.9 || p99 > 9.9*1.08 {
		t.Errorf("p99 of 10 ms to 10 s is %v", p99)
	}
	for _, v := range []float64{-5, 0, 1e-9, 1e12, math.Inf(1)} {
		s.observe(v)
		if got, ok := s.take(0.5); !ok || got < timesLow || got > 1e8 {
			t.Errorf("%v is taken for %v", v, got)
		}
	}
}
