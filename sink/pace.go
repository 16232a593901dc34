package sink

import (
	"sync"
	"time"
)

// pace finds how many writes at once one InfluxDB is to get: as few as bring
// nearly as many rows a second through as more would. A store far away needs
// many to fill the way there; one that is near and busy gets slower with each,
// and no more done, and a fresh ping then waits behind all of them.
//
// It climbs by trial. While writes wait, it measures rows a second for a time, now
// and then with one write more or one less at once, and stays there if that
// pays: one more must bring at least payoff of what it would if all were to
// scale, one less may cost at most that. Errors are the breaker's business, but a
// write that takes far too long halves the number.
//
// Limiters that compare latency with what it was are not used. What it is without
// load nobody knows for writes of all sizes, and they let about three wait in the
// queue for nothing, or take a latency that has risen for the usual one: of at
// most eight that is all. failsafe-go's adaptive limiter, tried on the stores of
// TestPace, came to eight on each of them, which for a store of one core is eight
// times the latency and not a row more.
type pace struct {
	slow time.Duration // a write that takes longer halves the limit

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
	payoff      = 0.2
	paceStart   = 4
	paceRest    = 5                      // measurements between two trials
	paceWrites  = 6                      // of a measurement, for each at once
	paceAtLeast = 500 * time.Millisecond // it takes
)

func newPace(slow time.Duration) *pace {
	return &pace{slow: slow, limit: paceStart, up: true, unripe: paceStart}
}

// most returns how many writes there may be at once.
func (p *pace) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit
}

// ended counts a write that has ended, of whose rows so many were taken. What is
// measured while no other write waits, or fails, says nothing.
func (p *pace) ended(rows int, took time.Duration, waiting bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case took > p.slow && p.limit > 1 && p.unripe == 0:
		p.from, p.up, p.rest = 0, true, paceRest
		p.set(p.limit / 2)
	case !waiting || rows == 0:
		p.restart(now)
	case p.unripe > 0:
		p.unripe--
		p.restart(now)
	default:
		p.rows += rows
		p.writes++
		if d := now.Sub(p.began); p.writes >= paceWrites*p.limit && d >= paceAtLeast {
			p.learn(float64(p.rows) / d.Seconds())
			p.restart(now)
		}
	}
}

func (p *pace) restart(now time.Time) { p.began, p.rows, p.writes = now, 0, 0 }

func (p *pace) set(limit int) { p.limit, p.unripe = limit, limit }

// learn takes a measurement and decides what to try next.
func (p *pace) learn(rate float64) {
	if p.from == 0 {
		p.rate = rate
		if p.rest--; p.rest <= 0 {
			p.try()
		}
		return
	}
	step := float64(p.limit - p.from) // 1 or -1
	if rate >= p.rate*(1+step*payoff/float64(min(p.from, p.limit))) {
		p.rate, p.from = rate, 0
		p.up = step > 0
		p.try() // it pays: go on
		return
	}
	p.set(p.from)
	p.from, p.up, p.rest = 0, step < 0, paceRest
}

// try begins a trial, if there is one to make.
func (p *pace) try() {
	to := p.limit - 1
	if p.up {
		to = p.limit + 1
	}
	if to < 1 || to > maxInFlight {
		p.up, p.rest = !p.up, paceRest
		return
	}
	p.from = p.limit
	p.set(to)
}
