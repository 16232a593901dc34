package health

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"pingline/sink/deadletter"
	"pingline/sink/store"
)

// Reasons for which a lane is halted although its store is well.
const (
	StopRefusals = "too many refused"        // rows refused for their content
	StopFull     = "dead letters full"       // no room for another letter
	StopDisk     = "dead letters unwritable" // letters cannot be written for any other cause
)

// Stops are all reasons for which a lane or a shard does not write until an
// operator acts.
var Stops = slices.Concat(store.Stops, []string{StopRefusals, StopFull, StopDisk})

// haltReason returns why a lane is halted, an element of Stops, and advice on
// it.
func haltReason(err error) (reason, advice string) {
	switch {
	case errors.Is(err, ErrTooManyRefused):
		return StopRefusals, "remove the cause of the refusals, or let the rows become dead letters with pingline deadletter accept"
	case errors.Is(err, deadletter.ErrFull):
		return StopFull, "have the dead letters stored with pingline deadletter replay, move their files away, or raise --deadletter-max-bytes"
	}
	return StopDisk, "give the disk of --data-dir room, or make it writable"
}

// Halt keeps the trouble of a lane that is not its store's. Safe for concurrent
// use.
type Halt struct {
	shard, lane string
	logger      *slog.Logger

	mu           sync.Mutex // guards the fields below; nothing else is locked under it
	batches      int        // batches that cannot go on
	problem      error      // of the batch that failed last; nil if there is none
	reason       string     // an element of Stops
	advice       string     // for an operator
	troubled     time.Time  // since when
	lastReported time.Time
}

// NewHalt returns the Halt of a lane that is not halted.
func NewHalt(shard, lane string, logger *slog.Logger) *Halt {
	return &Halt{shard: shard, lane: lane, logger: logger}
}

// Begin records that a batch of the lane cannot go on for now. The first call for
// a batch counts it.
func (h *Halt) Begin(err error, first bool) {
	now := time.Now()
	reason, advice := haltReason(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	if first {
		h.batches++
	}
	news := h.problem == nil || h.reason != reason
	if h.problem == nil {
		h.troubled = now
	}
	h.problem, h.reason, h.advice = err, reason, advice
	if !news && now.Sub(h.lastReported) < ReportEvery {
		return
	}
	h.lastReported = now
	h.logger.Error("a lane stands still until an operator removes the cause; all entries are kept", "shard", h.shard, "lane", h.lane, "reason", reason, "error", err, "advice", advice)
}

// End records that a batch which was halted can go on.
func (h *Halt) End() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.batches--; h.batches > 0 {
		return
	}
	h.problem = nil
	h.logger.Info("the lane goes on", "shard", h.shard, "lane", h.lane, "after", time.Since(h.troubled).Round(time.Millisecond))
}

// Note returns a sentence on the halt, "" if the lane is not halted.
func (h *Halt) Note() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problem == nil {
		return ""
	}
	return fmt.Sprintf("shard %s, %v: nothing written for %v: %v", h.shard, h.lane, time.Since(h.troubled).Round(time.Second), h.problem) + advised(h.advice)
}

// Halted returns why the lane is halted, as an element of Stops and in full;
// "" if it is not.
func (h *Halt) Halted() (reason, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.problem == nil {
		return "", ""
	}
	return h.reason, h.problem.Error()
}

// advised returns an advice as the end of a sentence on a trouble.
func advised(advice string) string {
	if advice == "" {
		return ""
	}
	return "; " + advice
}
