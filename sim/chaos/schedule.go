// Package chaos brings failures about at an installation while a load runs: which, when
// and for how long follows from a seed.
//
// It promises that a failure that began is ended, whatever happens meanwhile, and that
// the next one begins only once all is well again. It neither kills nor freezes anything
// itself: an Injector does, a script or a person.
package chaos

import (
	"math/rand/v2"
	"time"
)

// FailureStep is a failure in a schedule.
type FailureStep struct {
	At    time.Duration // since the start
	Fault Failure
	Lasts time.Duration
}

// Times of a schedule that is long enough. A shorter one is the same in small.
const (
	leadIn    = 5 * time.Second
	leastLast = time.Second
	mostLast  = 20 * time.Second
	leastRest = 5 * time.Second // between two failures, and after the last
	mostRest  = 15 * time.Second
)

// Schedule returns failures of a list, in order, for a run that takes so long. It is a
// pure function. The failures take turns in an order that is drawn anew for each round,
// and the first round always has room.
func Schedule(seed uint64, lasts time.Duration, of List) (steps []FailureStep) {
	rng := rand.New(rand.NewPCG(seed, 0x6368616f73))
	round := of.sorted()
	room := leadIn + time.Duration(len(round))*(mostLast+mostRest)
	scale := min(1, float64(lasts)/float64(room))
	draw := func(least, most time.Duration) time.Duration {
		d := least + time.Duration(rng.Float64()*float64(most-least))
		return time.Duration(float64(d) * scale).Truncate(time.Millisecond)
	}
	at := draw(leadIn, leadIn)
	for n := 0; len(round) > 0; n++ {
		if n%len(round) == 0 {
			rng.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		}
		s := FailureStep{At: at, Fault: round[n%len(round)], Lasts: draw(leastLast, mostLast)}
		at += s.Lasts + draw(leastRest, mostRest)
		if at > lasts {
			break
		}
		steps = append(steps, s)
	}
	return steps
}
