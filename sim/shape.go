package sim

import (
	"fmt"
	"math"
	"time"
)

// Shape is a rate of pings as a function of the time since the start of a load: a
// straight line between two knots, and that of the last knot from there on. The
// first knot is at 0.
type Shape []Knot

// Knot is a moment of a Shape and the rate at it, pings/s of all phones.
type Knot struct {
	At   time.Duration
	Rate float64
}

func (s Shape) check() error {
	for i, k := range s {
		switch {
		case i == 0 && k.At != 0:
			return fmt.Errorf("shape that starts at %v: not at 0", k.At)
		case i > 0 && k.At <= s[i-1].At:
			return fmt.Errorf("shape with a knot at %v after one at %v", k.At, s[i-1].At)
		case !(k.Rate > 0 && k.Rate <= 1e9):
			return fmt.Errorf("shape with a rate of %g: not in (0, 1e9]", k.Rate)
		}
	}
	return nil
}

// Rate returns the pings/s at a time since the start.
func (s Shape) Rate(at time.Duration) float64 {
	for i := len(s) - 1; i >= 0; i-- {
		switch k := s[i]; {
		case at < k.At:
		case i == len(s)-1:
			return k.Rate
		default:
			next := s[i+1]
			return k.Rate + (next.Rate-k.Rate)*float64(at-k.At)/float64(next.At-k.At)
		}
	}
	return s[0].Rate
}

// walk finds the moments of pings along a shape, in order. The k-th ping is due
// where the integral of the rate has come to k.
type walk struct {
	shape  Shape
	i      int     // the stretch that starts at shape[i]
	before float64 // pings before it
}

// due returns when ping k is due, ns since the start; k does not fall.
func (w *walk) due(k float64) int64 {
	for {
		knot := w.shape[w.i]
		k1 := k - w.before
		if w.i == len(w.shape)-1 {
			return int64(knot.At) + int64(k1/knot.Rate*1e9)
		}
		next := w.shape[w.i+1]
		length := (next.At - knot.At).Seconds()
		pings := (knot.Rate + next.Rate) / 2 * length
		if k1 < pings {
			// r·t + (r' - r)/2T·t² = k, solved for t without a difference of near numbers.
			bend := 2 * (next.Rate - knot.Rate) / length * k1
			return int64(knot.At) + int64(2*k1/(knot.Rate+math.Sqrt(knot.Rate*knot.Rate+bend))*1e9)
		}
		w.before += pings
		w.i++
	}
}
