package tally

import (
	"math"

	"pingline"
)

// Strain is by which minute the ingester gave how much up, as far as its answers say: a
// larger max_error than at its best, or pings that it shed. Its zero value has none.
type Strain struct {
	least   float32           // max_error at its best
	answers bool              // there was any
	minutes map[int64]float32 // the largest max_error in each; +Inf if pings were shed
}

// Add takes note of a ping that was answered at a time, ms since 1970, with a bound in
// metres.
func (s *Strain) Add(answered int64, v pingline.Verdict, maxError float32) {
	worst := maxError
	switch v {
	case 0, pingline.Rejected: // may be of an answer that has no bound
		return
	case pingline.Shed:
		worst = float32(math.Inf(1))
	default:
		if !s.answers || maxError < s.least {
			s.least, s.answers = maxError, true
		}
	}
	if s.minutes == nil {
		s.minutes = make(map[int64]float32)
	}
	minute := answered / 60_000
	if worst > s.minutes[minute] {
		s.minutes[minute] = worst
	}
}

// between reports whether the ingester was under strain at any time from one to
// another, ms since 1970.
func (s *Strain) between(from, to int64) bool {
	for minute := from / 60_000; minute <= to/60_000; minute++ {
		if s.minutes[minute] > s.least {
			return true
		}
	}
	return false
}
