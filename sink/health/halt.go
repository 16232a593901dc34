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

// Reasons of a lane to be halted that are the sink's own, not a store's.
const (
	StopRefusals = "too many refused"        // rows, for their content
	StopFull     = "dead letters full"       // no room for another one
	StopDisk     = "dead letters unwritable" // for any other cause
)

// Stops are all causes that keep a lane or a shard from writing until an operator
// has put them right.
var Stops = slices.Concat(store.Stops, []string{StopRefusals, StopFull, StopDisk})

// haltReason returns why a lane is halted, one of Stops, and advice on it.
func haltReason(err error) (reason, advice string) {
	switch {
	case errors.Is(err, ErrTooManyRefused):
		return StopRefusals, "put right what they are refused for, or let them become dead letters with pingline deadletter accept"
	case errors.Is(err, deadletter.ErrFull):
		return StopFull, "have them stored with pingline deadletter replay, move files away, or raise --deadletter-max-bytes"
	}
	return StopDisk, "give the disk of --data-dir room, or make it writable"
}

// Halt is any cause besides its store that keeps a lane from going on. Safe for
// concurrent use.
type Halt struct {
	shard, lane string
	logger      *slog.Logger

	mu           sync.Mutex // guards the fields below; nothing else is locked under it
	batches      int        // that cannot go on
	problem      error      // of one of them; nil if there is none
	reason       string     // one of Stops
	advice       string     // on it, to an operator
	troubled     time.Time  // since when
	lastReported time.Time
}

// NewHalt returns the halt of a lane that goes on.
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
	h.logger.Error("a lane stands still until this is put right; all is kept", "shard", h.shard, "lane", h.lane, "reason", reason, "error", err, "advice", advice)
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

// Halted returns why the lane is halted, one of Stops and in full; "" if it is
// not.
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
