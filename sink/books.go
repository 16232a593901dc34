package sink

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"pingline/queue"
)

// Stats says what became of the pings of one shard since New. Each stored ping
// is counted once, as its lane passes it:
//
//	stored in the log since StartTotals = Written + DeadLettered() + Damaged + Elsewhere + Queued
type Stats struct {
	Shard       string
	Written     uint64            // taken by InfluxDB
	DeadLetters map[string]uint64 // refused and put aside, by reason
	Damaged     uint64            // lost by the log
	Elsewhere   uint64            // of other shards
	Queued      uint64            // not passed yet, those of other shards among them

	Oldest      time.Duration // how long the oldest commit not passed has waited; 0 if none is known
	Retries     uint64        // attempts that have to be made again
	Breaker     int           // Closed, HalfOpen or Open
	LastError   string        // why the last attempt failed; "" if it did not
	StartTotals queue.Totals  // at the cursor at the start
}

// DeadLettered returns the number of dead letters for all reasons.
func (s *Stats) DeadLettered() (n uint64) {
	for _, c := range s.DeadLetters {
		n += c
	}
	return n
}

// books are the accounts of a lane, safe for concurrent use, and what keeps it
// from writing.
type books struct {
	mu          sync.Mutex
	start       queue.Totals
	written     uint64
	deadLetters map[string]uint64
	damaged     uint64
	elsewhere   uint64
	retries     uint64
	sending     time.Time // since of the batch being delivered; zero if none
	filling     time.Time // since of the batch behind it; zero if none

	problem      error // nil if the last attempt did not fail
	kind         Kind
	troubled     time.Time // when the first attempt in a row failed
	lastReported time.Time
}

// filled notes that b waits to be delivered.
func (k *books) filled(b *batch, start queue.Totals) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.filling, k.start = b.since, start
}

// took notes that b is being delivered.
func (k *books) took(b *batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sending, k.filling = b.since, time.Time{}
}

func (k *books) wrote(n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.written += uint64(n)
}

func (k *books) buried(n int, e *WriteError) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.deadLetters == nil {
		k.deadLetters = make(map[string]uint64)
	}
	k.deadLetters[e.reason()] += uint64(n)
}

// settled notes that b has been passed.
func (k *books) settled(b *batch) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.damaged += b.damaged
	k.elsewhere += b.elsewhere
	k.sending = time.Time{}
}

// reportEvery is how often a trouble that lasts is logged.
const reportEvery = time.Minute

// trouble notes that an attempt failed and is to be made again.
func (k *books) trouble(l *lane, kind Kind, err error) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retries++
	news := k.problem == nil || k.kind != kind
	if k.problem == nil {
		k.troubled = now
	}
	k.problem, k.kind = err, kind
	if !news && now.Sub(k.lastReported) < reportEvery {
		return
	}
	k.lastReported = now
	if kind == Configuration {
		l.cfg.Logger.Error("nothing is written until this is put right; all is kept", "shard", l.shard.Name, "error", err)
	} else {
		l.cfg.Logger.Warn("a write failed and is tried again; all is kept", "shard", l.shard.Name, "error", err)
	}
}

// fine notes that an attempt did not fail.
func (k *books) fine(l *lane) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.problem == nil {
		return
	}
	k.problem = nil
	l.cfg.Logger.Info("writing goes on", "shard", l.shard.Name, "after", time.Since(k.troubled).Round(time.Millisecond))
}

func (l *lane) stats() Stats {
	k := &l.books
	k.mu.Lock()
	defer k.mu.Unlock()
	s := Stats{
		Shard:       l.shard.Name,
		Written:     k.written,
		DeadLetters: maps.Clone(k.deadLetters),
		Damaged:     k.damaged,
		Elsewhere:   k.elsewhere,
		Retries:     k.retries,
		Breaker:     l.breaker.state(),
		StartTotals: k.start,
	}
	// Read behind the lock, the log is never behind what was passed.
	passed := s.Written + s.DeadLettered() + s.Damaged + s.Elsewhere
	if stored := lack(l.cfg.Log.LastTotals(), k.start); stored > passed {
		s.Queued = stored - passed
	}
	for _, since := range [...]time.Time{k.filling, k.sending} {
		if !since.IsZero() {
			s.Oldest = max(s.Oldest, time.Since(since), 0)
		}
	}
	if k.problem != nil {
		s.LastError = k.problem.Error()
	}
	return s
}

// noteAfter is how long InfluxDB may be in trouble before an operator must know.
const noteAfter = 10 * time.Second

// note says what keeps the lane from writing, or nothing.
func (l *lane) note() string {
	waiting := l.stats().Queued
	k := &l.books
	k.mu.Lock()
	defer k.mu.Unlock()
	lasted := time.Since(k.troubled)
	if k.problem == nil || k.kind == Retry && lasted < noteAfter {
		return ""
	}
	return fmt.Sprintf("shard %s: nothing written for %v, %d pings wait: %v", l.shard.Name, lasted.Round(time.Second), waiting, k.problem)
}
