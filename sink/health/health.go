// Package health keeps whether a shard can be written to, and why a lane must wait.
//
// Health is the trouble of a shard: since when it has not stored the writes it was
// given, when it may be tried again, and with how many rows. Expiry is how long its
// store keeps rows, RefusalBudget is how many refused rows become dead letters before
// an operator must act, and Halt is trouble of a lane that is not its store's. Each has
// its own mutex and is safe for concurrent use.
//
// The package writes nothing and starts nothing: the sink tells it of every attempt,
// and asks it before the next.
package health

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pingline/sink/limit"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Health is whether a shard stores the writes it is given: its trouble, and the
// probes that end it. Safe for concurrent use.
type Health struct {
	name     string        // of the shard
	timeout  time.Duration // of a write
	retryMax time.Duration // longest wait between two attempts
	breaker  *limit.Breaker
	logger   *slog.Logger

	mu        sync.Mutex              // guards the fields below; nothing else is locked under it
	took      [route.LaneKinds]uint64 // rows, of any shard's lanes, by the kind of the lane
	retries   uint64                  // attempts that have to be made again
	problem   error                   // nil if the last attempt did not fail
	kind      store.Kind
	reason    string    // of Configure: an element of store.Stops
	advice    string    // of Configure: for an operator
	troubled  time.Time // when the first attempt failed since the shard was last well
	most      int       // rows of the largest write that failed since troubled
	failedAt  time.Time // when the last attempt failed
	trial     int       // rows of the next probe
	notBefore time.Time // earliest time of the next attempt, if the store asked for a pause
	nextProbe time.Time
	probing   bool

	lastReported time.Time
}

// New returns the health of a shard without trouble. A write takes timeout at most,
// and is tried again after retryMax at the latest.
func New(name string, timeout, retryMax time.Duration, breaker *limit.Breaker, logger *slog.Logger) *Health {
	return &Health{name: name, timeout: timeout, retryMax: retryMax, breaker: breaker, logger: logger}
}

// A shard is down if it does not store the writes it is given. A store that takes small writes,
// such as a breaker's probes, and fails full writes is still of no use. So trouble ends with a
// write at least half as large as the largest that failed (a batch of which a probe took a part is
// then taken in one more write), with probes that have grown as large, or when nothing has failed
// for calm.

// calm is longer than the time from a failure of a batch to its next failure.
func (s *Health) calm() time.Duration { return 2 * (s.timeout + 2*s.retryMax) }

// Failed records that an attempt to write a number of rows failed and is to be
// made again.
func (s *Health) Failed(e *store.Refusal, err error, rows int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retries++
	s.failedAt, s.trial = now, limit.ProbeRows
	if e.After > 0 {
		s.notBefore = now.Add(e.After)
	}
	news := s.problem == nil || s.kind != e.Kind || s.reason != e.Reason
	if s.problem == nil {
		s.troubled, s.most = now, 0
	}
	s.most = max(s.most, rows)
	s.problem, s.kind, s.reason, s.advice = err, e.Kind, e.Reason, e.Advice
	if !news && now.Sub(s.lastReported) < ReportEvery {
		return
	}
	s.lastReported = now
	if e.Kind == store.Configure {
		s.logger.Error("nothing is written to the shard until an operator removes the cause; all entries are kept", "shard", s.name, "reason", e.Reason, "error", err, "advice", e.Advice)
	} else {
		s.logger.Warn("a write failed and is tried again; all entries are kept", "shard", s.name, "error", err)
	}
}

// Answered records that the store took some rows of a lane, or refused them
// for their content, in an attempt to write a number of rows.
func (s *Health) Answered(kind route.LaneKind, took, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[kind] += uint64(took)
	if s.problem != nil && (2*rows >= s.most || time.Since(s.failedAt) > s.calm()) {
		s.recovered()
	}
}

// recovered ends the trouble; the caller holds mu.
func (s *Health) recovered() {
	s.problem, s.notBefore = nil, time.Time{}
	s.logger.Info("the shard takes writes again", "shard", s.name, "after", time.Since(s.troubled).Round(time.Millisecond))
}

// Asked reports whether the store has asked to be left alone for now.
func (s *Health) Asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.notBefore)
}

// Down returns for how long the shard has not stored the writes it was given, 0 if
// it does.
func (s *Health) Down() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == nil {
		return 0
	}
	return max(time.Since(s.troubled), 1)
}

// Up reports whether a write is likely to be taken, or should be tried since none
// was made for long.
func (s *Health) Up() bool {
	s.mu.Lock()
	idle := s.problem != nil && time.Since(s.failedAt) > s.calm()
	s.mu.Unlock()
	return idle && s.breaker.State() != limit.Open || s.Down() == 0 && s.breaker.State() == limit.Closed
}

// Probe returns how many rows the caller is to write to find out if a shard that
// is down is back, or 0 if it is not to: probes run one at a time, and not too
// often. After a probe the caller must call Probed.
func (s *Health) Probe() (rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.probing || now.Before(s.nextProbe) {
		return 0
	}
	s.probing, s.nextProbe = true, now.Add(s.retryMax)
	return s.trial
}

// probeGrowth is the factor by which a probe may be larger than the last that
// was taken.
const probeGrowth = 8

// Probed ends a probe.
func (s *Health) Probed(taken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = false
	switch {
	case !taken || s.problem == nil:
	case s.trial >= s.most:
		s.recovered()
	default:
		s.trial *= probeGrowth
	}
}

// noteAfter is how long a store may be in trouble before Note tells an
// operator.
const noteAfter = 10 * time.Second

// Note returns a sentence on the shard's trouble, and on the entries that wait
// for it; "" if there is none.
func (s *Health) Note(waits string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasted := time.Since(s.troubled)
	if s.problem == nil || s.kind == store.Retry && lasted < noteAfter {
		return ""
	}
	return fmt.Sprintf("shard %s: nothing written for %v, %s: %v", s.name, lasted.Round(time.Second), waits, s.problem) + advised(s.advice)
}

// Trouble returns why the last attempt failed, nil if it did not, and the reason
// for which an operator must act, an element of store.Stops; "" if there is none.
func (s *Health) Trouble() (stop string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == nil {
		return "", nil
	}
	return s.reason, s.problem
}

// Counted returns how many rows the shard has taken, of any shard's lanes, by
// kind of lane, and how many attempts have to be made again.
func (s *Health) Counted() (took [route.LaneKinds]uint64, retries uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.took, s.retries
}

// ReportEvery is how often a trouble that lasts is logged.
const ReportEvery = time.Minute
