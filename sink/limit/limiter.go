package limit

import (
	"sync"
	"time"
)

// limiter finds how many writes at once one store is to get (adaptive
// concurrency): as few as bring nearly as many rows a second through as more
// would. A store far away needs many to fill the way there; one that is near and
// busy gets slower with each, and no more done, and a fresh ping then waits behind
// all of them.
//
// It climbs by trial. While writes wait, it measures rows a second for a time, now
// and then with one write more or one less at once, and stays there if that
// pays: one more must bring at least payoff of what it would if all were to
// scale, one less may cost at most that. Errors are the breaker's business, but a
// write that takes far too long halves the number.
//
// Limiters that compare latency with an earlier latency are not used. The latency
// without load is not known for writes of all sizes, and they let about three wait
// in the queue for nothing, or take a latency that has risen for the usual one: of
// at most eight that is all. failsafe-go's adaptive limiter, tried on the stores
// of TestLimiter, came to eight on each of them: for a store of one core that is
// eight times the latency and not a row more.
type limiter struct {
	slow time.Duration // a write that takes longer halves the limit

	// mu guards the fields below. It is taken behind the scheduler's; nothing else
	// is locked under it.
	mu     sync.Mutex
	limit  int
	from   int     // the limit that the trial is compared with; 0 if there is no trial
	rate   float64 // rows/s at from, or at the limit if there is no trial
	up     bool    // the next trial is with one more
	rest   int     // measurements until then
	unripe int     // writes to end that began under another limit
	began  time.Time
	writes int
	rows   int
}

const (
	payoff        = 0.2
	startLimit    = 4
	trialRest     = 5                      // measurements between two trials
	measureWrites = 6                      // of a measurement, for each at once
	measureTime   = 500 * time.Millisecond // it takes
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
// write that failed, or that no other waited for, measures nothing.
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

// learn takes a measurement and decides what to try next.
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
		l.try() // it pays: go on
		return
	}
	l.set(l.from)
	l.from, l.up, l.rest = 0, step < 0, trialRest
}

// try begins a trial, if there is one to make.
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
