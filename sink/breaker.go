package sink

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Breaker states, as they are exposed.
const (
	Closed   = 0 // writes pass
	HalfOpen = 1 // one small probe at a time decides
	Open     = 2 // nothing is written
)

// errBreakerOpen says that a write was not tried.
var errBreakerOpen = errors.New("breaker is open")

// probeLines is the most lines of a write while the breaker is half-open: a
// server that comes back is asked with little.
const probeLines = 100

// breaker spares a shard that is in trouble. All lanes of the shard share it;
// it never decides what is kept, only when a write is worth trying.
//
// Only the server's trouble counts as failure: no answer in time, no
// connection, 5xx. A refused row or a refused token is an answer of a healthy
// server and counts as success. 429 and writes that we broke off say nothing
// and do not count.
type breaker struct {
	cb *gobreaker.CircuitBreaker[struct{}]
}

func newBreaker(name string, open time.Duration) *breaker {
	return &breaker{gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: name,
		// Half-open, a second write waits for the first one's fate, and one
		// success is enough: the lane's backoff has already been patient.
		MaxRequests: 1,
		// What happened in the last half minute counts, forgotten by fives.
		Interval:     30 * time.Second,
		BucketPeriod: 5 * time.Second,
		Timeout:      open,
		// Dead: five failures in a row, which with backoff take some seconds
		// when refused and most of a minute when silent. Sick: every other of
		// at least 20 writes fails.
		ReadyToTrip: func(c gobreaker.Counts) bool {
			tried := c.TotalSuccesses + c.TotalFailures
			return c.ConsecutiveFailures >= 5 || tried >= 20 && c.TotalFailures*2 >= tried
		},
		IsSuccessful: func(err error) bool {
			e := new(WriteError)
			return err == nil || errors.As(err, &e) && e.Kind != Retry
		},
		IsExcluded: func(err error) bool {
			e := new(WriteError)
			return errors.Is(err, context.Canceled) || errors.As(err, &e) && e.Status == http.StatusTooManyRequests
		},
		// OnStateChange stays unset: it would run under the breaker's lock,
		// where asking the breaker anything is a deadlock. State is polled.
	})}
}

// write calls f, or returns errBreakerOpen without calling it.
func (b *breaker) write(f func() error) error {
	_, err := b.cb.Execute(func() (struct{}, error) { return struct{}{}, f() })
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return errBreakerOpen
	}
	return err
}

// most returns how many of n lines the next write may hold.
func (b *breaker) most(n int) int {
	if b.state() == HalfOpen {
		return min(n, probeLines)
	}
	return n
}

func (b *breaker) state() int {
	switch b.cb.State() {
	case gobreaker.StateOpen:
		return Open
	case gobreaker.StateHalfOpen:
		return HalfOpen
	}
	return Closed
}
