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
	HalfOpen = 1 // a small probe at a time decides
	Open     = 2 // nothing is written
)

// ErrOpen says that a write was not tried.
var ErrOpen = errors.New("breaker is open")

// ProbeRows is the most rows of a write while the breaker is half-open: a
// server that comes back gets little at first.
const ProbeRows = 100

// Breaker stops writes to a store that is in trouble. All lanes that write to
// the store share it. It never decides which rows are kept, only when a write
// is tried. It is safe for concurrent use.
//
// Only the server's trouble counts as failure: no answer in time, no connection,
// a fault. A refused row or a refused token is an answer of a healthy server and
// counts as success. A request for a slower pace, or a write that we broke off,
// counts as neither.
//
// A write that was taken but took longer than slow counts as failure too: an
// overloaded server answers later and later until nothing is answered in time,
// and by then has the same rows to write over and over. A pause, and a small
// write at its end, lets it recover. Before that, the scheduler tries fewer
// writes at once.
type Breaker struct {
	cb   *gobreaker.CircuitBreaker[struct{}]
	slow time.Duration
	blip time.Duration
	left instant // when it left the closed state; none while it is closed
	ill  instant // when the present row of failures began; none without a failure
}

// instant is a time or none, by the monotonic clock: setting the wall clock does
// not move it. Safe for concurrent use.
type instant struct{ at atomic.Pointer[time.Time] }

func (i *instant) clear() { i.at.Store(nil) }

func (i *instant) set() {
	now := time.Now()
	i.at.Store(&now)
}

// start sets i to now if it is none.
func (i *instant) start() {
	now := time.Now()
	i.at.CompareAndSwap(nil, &now)
}

// since returns how long ago i was, more than 0, and false if it is none.
func (i *instant) since() (time.Duration, bool) {
	at := i.at.Load()
	if at == nil {
		return 0, false
	}
	return max(time.Since(*at), 1), true
}

// blipPart is a divisor: five failures in a row open the breaker only if they
// lasted for its open time ÷ blipPart. Up to eight writes are in flight at
// once, and all of them break off when a store is restarted, which is no
// reason to leave it alone for seconds.
const blipPart = 5

// errSlow is the error of a slow write; only gobreaker sees it.
var errSlow = errors.New("taken, but slowly")

// NewBreaker returns a closed breaker of the store called name. It stays open for
// the time open, and is then half-open; a write that took longer than slow counts
// as failed.
func NewBreaker(name string, open, slow time.Duration) *Breaker {
	b := &Breaker{slow: slow, blip: open / blipPart}
	b.cb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name,
		// Half-open, a second write waits for the result of the first, and one
		// success is enough: the lane's backoff has already been patient.
		MaxRequests: 1,
		// Only the last half minute counts, in buckets of five seconds.
		Interval:     30 * time.Second,
		BucketPeriod: 5 * time.Second,
		Timeout:      open,
		// A dead store: five failures in a row, over at least a second if the breaker opens for
		// five. A single writer with backoff takes some seconds for five failures when refused, and
		// most of a minute when there is no answer. A sick store: half of at least 20 writes fail.
		ReadyToTrip: func(c gobreaker.Counts) bool {
			tried := c.TotalSuccesses + c.TotalFailures
			lasted, ill := b.ill.since()
			return c.ConsecutiveFailures >= 5 && ill && lasted >= b.blip || tried >= 20 && c.TotalFailures*2 >= tried
		},
		IsSuccessful: countsAsSuccess,
		IsExcluded:   isExcluded,
		// Called under the breaker's lock, where a call of the breaker would
		// deadlock: so it only records the time.
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

// NotClosed returns how long the breaker has not been closed, 0 if it is.
func (b *Breaker) NotClosed() time.Duration {
	lasted, _ := b.left.since()
	return lasted
}
