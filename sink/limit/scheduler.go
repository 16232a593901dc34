// Package limit decides when a write to a store may begin.
//
// A Scheduler decides how many writes run at once and whose turn it is; a
// Breaker, whether the store should be tried at all. Neither of them decides
// which rows are kept: a write that may not begin waits or is tried again.
// Nothing is kept on disk: a restart begins with the constants.
package limit

import (
	"context"
	"slices"
	"sync"
	"time"

	"pingline/sink/store"
)

// MaxInFlight is the most writes to a store at once.
const MaxInFlight = 8

// MaxWrites returns the most writes at once of a lane to a store.
func MaxWrites(to store.Store) int {
	if s, ok := to.(store.Sequencer); ok && s.Sequential() {
		return 1
	}
	return MaxInFlight
}

// Class orders writes that compete. Critical goes first, the other classes
// share.
type Class uint8

// The classes, and how many there are.
const (
	Critical Class = iota // pings with an event
	Live                  // all other pings
	Backfill              // pings that were old when they came, and replayed pings
	Own                   // our own lines
	Classes
)

// Scheduler is a weighted fair queue of writes to a store. Critical writes go
// first and need not wait for room: one of them may always be in flight, beside
// the limit. The other classes share by weight the rows that are written, for
// as long as they compete. Each class may use all room that is idle, but
// Backfill and Own leave room for a Live write, so that a fresh ping never
// waits for old pings.
//
// Own has a hundredth of the weight, and not nothing: if it stood still, the
// log could not be trimmed. A Scheduler is safe for concurrent use.
type Scheduler struct {
	limiter *limiter
	half    func() bool // the breaker is half-open: a single write at a time

	// mu guards the fields below. It is taken before the mutexes of the
	// limiter and the breaker, which do not call the scheduler.
	mu          sync.Mutex
	waiting     [Classes][]*waiter
	inFlight    [Classes]int
	served      [Classes]float64 // rows admitted ÷ weight: the class with the least is next
	virtualTime float64          // served of the class admitted last: an idle class starts there
}

var weights = [Classes]float64{Live: 90, Backfill: 10, Own: 1}

// waiter is a write that waits to begin.
type waiter struct {
	rows     int
	probe    bool          // admitted while the breaker was half-open
	admitted chan struct{} // closed once it may begin
}

// NewScheduler returns a scheduler of writes to the store behind b. A write that
// takes longer than slow halves the number of writes at once.
func NewScheduler(b *Breaker, slow time.Duration) *Scheduler {
	return &Scheduler{limiter: newLimiter(slow), half: func() bool { return b.State() == HalfOpen }}
}

// Acquire waits until a write of that many rows may begin. The caller calls
// release when the write has ended, with the number of rows that were taken.
// The only error is ctx's.
func (s *Scheduler) Acquire(ctx context.Context, class Class, rows int) (release func(taken int), err error) {
	w := &waiter{rows: rows, admitted: make(chan struct{})}
	s.mu.Lock()
	if len(s.waiting[class]) == 0 && s.inFlight[class] == 0 {
		s.served[class] = max(s.served[class], s.virtualTime)
	}
	s.waiting[class] = append(s.waiting[class], w)
	s.admit()
	s.mu.Unlock()
	select {
	case <-w.admitted:
	case <-ctx.Done():
		if s.withdraw(class, w) {
			return nil, ctx.Err()
		}
	}
	began := time.Now()
	return func(taken int) {
		took := time.Since(began)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inFlight[class]--
		s.admit()
		if !w.probe {
			s.limiter.ended(taken, took, s.waiters() > 0)
		}
	}, nil
}

func (s *Scheduler) waiters() (n int) {
	for _, q := range s.waiting {
		n += len(q)
	}
	return n
}

// limit returns how many writes there may be at once.
func (s *Scheduler) limit() int {
	if s.half() {
		return 1
	}
	return s.limiter.most()
}

// withdraw takes back w, unless it has been admitted.
func (s *Scheduler) withdraw(class Class, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting[class], w)
	if i < 0 {
		return false
	}
	s.waiting[class] = slices.Delete(s.waiting[class], i, i+1)
	return true
}

// admit lets in all waiters that may begin now; the caller holds mu.
func (s *Scheduler) admit() {
	half, limit := s.half(), s.limit()
	for {
		class, ok := s.next(limit)
		if !ok {
			return
		}
		w := s.waiting[class][0]
		s.waiting[class] = s.waiting[class][1:]
		s.inFlight[class]++
		if class != Critical {
			s.virtualTime = s.served[class]
			s.served[class] += float64(max(w.rows, 1)) / weights[class]
		}
		w.probe = half
		close(w.admitted)
	}
}

// next returns the class whose turn it is, or false if none may begin.
func (s *Scheduler) next(limit int) (class Class, ok bool) {
	all := 0
	for _, n := range s.inFlight {
		all += n
	}
	if len(s.waiting[Critical]) > 0 && (all < limit || s.inFlight[Critical] == 0) {
		return Critical, true
	}
	if all-min(s.inFlight[Critical], 1) >= limit {
		return 0, false
	}
	left := 0 // room for a live write
	if s.inFlight[Live] == 0 && limit > 1 {
		left = 1
	}
	for c := Live; c < Classes; c++ {
		if len(s.waiting[c]) == 0 || c != Live && all+left >= limit {
			continue
		}
		if !ok || s.served[c] < s.served[class] {
			class, ok = c, true
		}
	}
	return class, ok
}

// InFlight returns how many writes have begun and not ended, and how many there
// may be.
func (s *Scheduler) InFlight() (n, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.inFlight {
		n += k
	}
	return n, s.limit()
}
