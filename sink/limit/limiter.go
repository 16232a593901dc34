package limit

import (
	"sync"
	"time"
)

// limiter finds how many writes at once a store is to get (adaptive concurrency):
// the fewest that store nearly as many rows a second as more would. A store far
// away needs many writes in flight to make up for its latency. A busy store nearby
// only gets slower with each more, and a fresh ping then waits behind all of them.
//
// It climbs by trial. While writes wait, it measures rows a second for a time, now
// and then with a write more or a write less at once, and keeps the new number if
// that pays: a write more must bring at least the part payoff of a write's share
// of the rate, a write less may cost at most that. The breaker counts errors, not
// the limiter, but a write that takes far too long halves the number.
//
// Limiters that compare latency with an earlier latency are not used. The latency
// without load is not known for writes of all sizes. Such limiters let about three
// writes queue for nothing, or take a risen latency for the usual; with at most
// eight writes, either uses up the whole range. failsafe-go's adaptive limiter,
// tried on the stores of TestLimiter, came to eight on each of them: for a store
// of one core that is eight times the latency and not a row more.
type limiter struct {
	slow time.Duration // a write that takes longer halves the limit

	// mu guards the fields below. It is taken behind the scheduler's; nothing else
	// is locked under it.
	mu     sync.Mutex
	limit  int
	from   int     // the limit that the trial is compared with; 0 if there is no trial
	rate   float64 // rows/s at from, or at the limit if there is no trial
	up     bool    // the next trial is with a write more
	rest   int     // measurements until the next trial
	unripe int     // writes in flight that began under another limit
	began  time.Time
	writes int
	rows   int
}

const (
	payoff        = 0.2
	startLimit    = 4
	trialRest     = 5                      // measurements between two trials
	measureWrites = 6                      // writes of a measurement, times the limit
	measureTime   = 500 * time.Millisecond // least time of a measurement
)

func newLimiter(slow time.Duration) *limiter {
	return &limiter{slow: slow, limit: startLimit, up: true, unripe: startLimit}
}

// most returns how many writes there may be at once.
func (l *limiter) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit
}

// ended counts a write that has ended, and how many of its rows were taken. A
// write that failed, or during which no other write waited, is not measured.
func (l *limiter) ended(rows int, took time.Duration, waiting bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case took > l.slow && l.limit > 1 && l.unripe == 0:
		l.from, l.up, l.rest = 0, true, trialRest
		l.set(l.limit / 2)
	case !waiting || rows == 0:
		l.restart(now)
	case l.unripe > 0:
		l.unripe--
		l.restart(now)
	default:
		l.rows += rows
		l.writes++
		if d := now.Sub(l.began); l.writes >= measureWrites*l.limit && d >= measureTime {
			l.learn(float64(l.rows) / d.Seconds())
			l.restart(now)
		}
	}
}

func (l *limiter) restart(now time.Time) { l.began, l.rows, l.writes = now, 0, 0 }

func (l *limiter) set(limit int) { l.limit, l.unripe = limit, limit }

// learn takes a measurement and decides on the next trial.
func (l *limiter) learn(rate float64) {
	if l.from == 0 {
		l.rate = rate
		if l.rest--; l.rest <= 0 {
			l.try()
		}
		return
	}
	step := float64(l.limit - l.from) // 1 or -1
	if rate >= l.rate*(1+step*payoff/float64(min(l.from, l.limit))) {
		l.rate, l.from = rate, 0
		l.up = step > 0
		l.try() // it pays: try the next step
		return
	}
	l.set(l.from)
	l.from, l.up, l.rest = 0, step < 0, trialRest
}

// try begins a trial, if the limit can change.
func (l *limiter) try() {
	to := l.limit - 1
	if l.up {
		to = l.limit + 1
	}
	if to < 1 || to > MaxInFlight {
		l.up, l.rest = !l.up, trialRest
		return
	}
	l.from = l.limit
	l.set(to)
}
