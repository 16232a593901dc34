package limit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"pingline/sink/store"
)

// Breaker states, as they are exposed.
const (
	Closed   = 0 // writes pass
	HalfOpen = 1 // one small probe at a time decides
	Open     = 2 // nothing is written
)

// ErrOpen says that a write was not tried.
var ErrOpen = errors.New("breaker is open")

// ProbeRows is the most rows of a write while the breaker is half-open: a
// server that comes back is asked with little.
const ProbeRows = 100

// Breaker spares a store that is in trouble. All lanes that write to the store
// share it. It never decides which rows are kept, only when a write is worth
// trying. It is safe for concurrent use.
//
// Only the server's trouble counts as failure: no answer in time, no
// connection, a fault. A refused row or a refused token is an answer of a healthy
// server and counts as success. A store that asks
// for a slower pace and a write that we broke off say nothing and do not count.
//
// A write that was taken but took longer than slow counts as failure too: a
// server that is being drowned answers later and later until nothing is answered
// in time, and by then has the same rows over and over to work off. A pause, and
// a small write at the end of it, lets it come up for air. Fewer writes at once
// are tried before that, by the scheduler.
type Breaker struct {
	cb   *gobreaker.CircuitBreaker[struct{}]
	slow time.Duration
	blip time.Duration
	left instant // when it was closed last; none if it is closed
	ill  instant // when the first of the last failures in a row was; none without one
}

// instant is a time or none, by the monotonic clock: another wall clock does not
// move it. Safe for concurrent use.
type instant struct{ at atomic.Pointer[time.Time] }

func (i *instant) clear() { i.at.Store(nil) }

func (i *instant) set() {
	now := time.Now()
	i.at.Store(&now)
}

// start sets it to now if it is none.
func (i *instant) start() {
	now := time.Now()
	i.at.CompareAndSwap(nil, &now)
}

// since returns how long ago it was, more than 0, and false if it is none.
func (i *instant) since() (time.Duration, bool) {
	at := i.at.Load()
	if at == nil {
		return 0, false
	}
	return max(time.Since(*at), 1), true
}

// blipPart is the part of the time it is open for which writes must have failed
// before that. Up to eight are under way at once, and all of them break when
// a store is restarted: that is no reason to leave it alone for seconds.
const blipPart = 5

// errSlow is the error of a slow write, for gobreaker only.
var errSlow = errors.New("taken, but slowly")

// NewBreaker returns a closed breaker of the store of that name. It is open for a
// time, then half-open; a write that is taken after more than slow has failed.
func NewBreaker(name string, open, slow time.Duration) *Breaker {
	b := &Breaker{slow: slow, blip: open / blipPart}
	b.cb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name,
		// Half-open, a second write waits for the first one's fate, and one
		// success is enough: the lane's backoff has already been patient.
		MaxRequests: 1,
		// The last half minute counts, in buckets of five seconds.
		Interval:     30 * time.Second,
		BucketPeriod: 5 * time.Second,
		Timeout:      open,
		// Dead: five failures in a row, over a second at least if it is to be open for five; one write at a
		// time, with backoff, takes some seconds for that when refused and most
		// of a minute when silent. Sick: every other of at least 20 writes fails.
		ReadyToTrip: func(c gobreaker.Counts) bool {
			tried := c.TotalSuccesses + c.TotalFailures
			lasted, ill := b.ill.since()
			return c.ConsecutiveFailures >= 5 && ill && lasted >= b.blip || tried >= 20 && c.TotalFailures*2 >= tried
		},
		IsSuccessful: countsAsSuccess,
		IsExcluded:   isExcluded,
		// Called under the breaker's lock, where asking the breaker anything is a
		// deadlock: it takes note of the time and no more.
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateClosed:
				b.left.clear()
			case from == gobreaker.StateClosed:
				b.left.set()
			}
		},
	})
	return b
}

func countsAsSuccess(err error) bool {
	r := new(store.Refusal)
	return err == nil || errors.As(err, &r) && r.Kind != store.Retry
}

func isExcluded(err error) bool {
	r := new(store.Refusal)
	return errors.Is(err, context.Canceled) || errors.As(err, &r) && r.Busy
}

// Write calls f, or returns ErrOpen without calling it.
func (b *Breaker) Write(f func() error) error {
	_, err := b.cb.Execute(func() (struct{}, error) {
		began := time.Now()
		err := f()
		if err == nil && time.Since(began) > b.slow {
			err = errSlow
		}
		switch {
		case countsAsSuccess(err):
			b.ill.clear()
		case !isExcluded(err):
			b.ill.start()
		}
		return struct{}{}, err
	})
	if errors.Is(err, errSlow) {
		return nil
	}
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return ErrOpen
	}
	return err
}

// Most returns how many of n rows the next write may hold.
func (b *Breaker) Most(n int) int {
	if b.State() == HalfOpen {
		return min(n, ProbeRows)
	}
	return n
}

// State returns Closed, HalfOpen or Open.
func (b *Breaker) State() int {
	switch b.cb.State() {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}

// NotClosed returns how long it has not been closed, 0 if it is.
func (b *Breaker) NotClosed() time.Duration {
	lasted, _ := b.left.since()
	return lasted
}
