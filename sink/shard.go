package sink

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"pingline/sink/batch"
	"pingline/sink/limit"
	"pingline/sink/route"
	"pingline/sink/store"
)

// shard is one store and the state shared by all lanes that write to it, its own
// and those of shards that are down.
type shard struct {
	Shard
	cfg        *Config
	spread     bool // keys are spread over it and others, which may stand in for it
	routedOnly bool // it gets only entries that routes name it for
	breaker    *limit.Breaker
	writes     *limit.Scheduler
	bytes      int                 // most of a batch
	pool       *semaphore.Weighted // bytes of batches of its lanes, beside the two that each may have
	holes      holes
	memory     atomic.Int64  // bytes of its lanes' batches, and of the writes to it
	counters   shardCounters // of its lanes
	budget     refusalBudget // of its refusals
	expiry     expiry        // of its bucket

	mu        sync.Mutex              // guards the fields below; nothing else is locked under it
	took      [route.LaneKinds]uint64 // rows, of any shard's lanes, by the kind of the lane
	retries   uint64                  // attempts that have to be made again
	problem   error                   // nil if the last attempt did not fail
	kind      store.Kind
	reason    string    // of Configure, one of Stops
	advice    string    // on it, to an operator
	troubled  time.Time // when the first attempt failed of those since it was last well
	most      int       // rows of the largest write that failed since then
	failedAt  time.Time // when the last attempt failed
	trial     int       // rows of the next probe
	notBefore time.Time // the store asked for it
	nextProbe time.Time
	probing   bool

	lastReported time.Time

	aside         int // rows that did not wait for it
	asideReported time.Time
}

// laneBatches says how a shard's memory is shared out: each of its lanes, holes
// among them, may have two batches, one that is filled and one in flight, and the
// rest goes to the fastest. A dead shard takes up no more than its own
// part.
const laneBatches = 16

func (s *Sink) newShard(i int) *shard {
	cfg, over := &s.cfg, s.router.Over()
	sh := &shard{Shard: cfg.Shards[i], cfg: cfg, spread: over > 1 && i < over, routedOnly: i >= over}
	sh.breaker = limit.NewBreaker(sh.Name, cfg.RetryMax/2, cfg.Timeout/2)
	sh.writes = limit.NewScheduler(sh.breaker, cfg.Timeout/4)
	sh.holes.news = make(chan struct{}, 1)
	part := cfg.BatchMemory / len(cfg.Shards)
	sh.bytes = max(min(cfg.BatchBytes, part/laneBatches), minBatchBytes)
	sh.pool = semaphore.NewWeighted(int64((laneBatches - 2*(int(route.LaneKinds)+1)) * sh.bytes))
	return sh
}

// account brings the bytes counted for b up to date: none once it is done. It is
// called by the goroutine that has b.
func (s *shard) account(b *batch.Encoded, done bool) {
	size := b.Size()
	if done {
		size = 0
	}
	s.memory.Add(int64(size - b.Counted))
	b.Counted = size
}

// learn records the age of the oldest of rows that the store has taken, if the
// retention is guessed from such ages.
func (s *shard) learn(b *batch.Encoded, rows []int) {
	if s.expiry.guessed() == 0 {
		return
	}
	oldest := b.At[rows[0]]
	for _, i := range rows {
		oldest = min(oldest, b.At[i])
	}
	s.expiry.took(time.Since(time.UnixMilli(oldest)))
}

// expired counts rows that the store would not keep any more and that did not
// become dead letters.
func (s *shard) expired(rows int) {
	if all, news := s.expiry.skip(rows); news {
		s.cfg.Logger.Warn("rows older than the store keeps are counted, but not kept: such rows have their half of the dead letters", "shard", s.Name, "rows", all)
	}
}

// minBatchBytes is the least that a batch may hold: some of the longest rows.
const minBatchBytes = 32 << 10

// A shard is down if it does not store the writes it is given: one that takes little
// writes, as a breaker's probes are, and fails full ones takes nothing that matters. So trouble ends with a write at least half as large as the largest that
// failed (a batch of which a probe took a part is then taken in one more), with
// probes that have grown as large, or when nothing has failed for calm.

// calm is longer than a batch that fails waits until it fails again.
func (s *shard) calm() time.Duration { return 2 * (s.cfg.Timeout + 2*s.cfg.RetryMax) }

// failed records that an attempt to write so many rows is to be made again.
func (s *shard) failed(e *store.Refusal, err error, rows int) {
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
	if !news && now.Sub(s.lastReported) < reportEvery {
		return
	}
	s.lastReported = now
	if e.Kind == store.Configure {
		s.cfg.Logger.Error("nothing is written until this is put right; all is kept", "shard", s.Name, "reason", e.Reason, "error", err, "advice", e.Advice)
	} else {
		s.cfg.Logger.Warn("a write failed and is tried again; all is kept", "shard", s.Name, "error", err)
	}
}

// answered records that the store has taken rows of a lane, or none because it
// refuses them for their content, in an attempt to write so many.
func (s *shard) answered(kind route.LaneKind, took, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took[kind] += uint64(took)
	if s.problem != nil && (2*rows >= s.most || time.Since(s.failedAt) > s.calm()) {
		s.recovered()
	}
}

// recovered ends a trouble; the caller holds mu.
func (s *shard) recovered() {
	s.problem, s.notBefore = nil, time.Time{}
	s.cfg.Logger.Info("writing goes on", "shard", s.Name, "after", time.Since(s.troubled).Round(time.Millisecond))
}

// asked reports whether the store has asked to be left alone for now.
func (s *shard) asked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.notBefore)
}

// down returns for how long it has not stored the writes it was given, 0 if it does.
func (s *shard) down() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.problem == nil {
		return 0
	}
	return max(time.Since(s.troubled), 1)
}

// up reports whether a write is likely to be taken, or worth a trial since none was
// made for long.
func (s *shard) up() bool {
	s.mu.Lock()
	idle := s.problem != nil && time.Since(s.failedAt) > s.calm()
	s.mu.Unlock()
	return idle && s.breaker.State() != limit.Open || s.down() == 0 && s.breaker.State() == limit.Closed
}

// probe returns how many rows the caller is to write to find out if a shard that
// is down is back: one probe at a time, and not too often; 0 if it is not to. If
// so it must call probed.
func (s *shard) probe() (rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.probing || now.Before(s.nextProbe) {
		return 0
	}
	s.probing, s.nextProbe = true, now.Add(s.cfg.RetryMax)
	return s.trial
}

// probeGrowth is how much more the probe after one that was taken may hold.
const probeGrowth = 8

// probed ends a probe, which was as large as it may be or all that there was.
func (s *shard) probed(taken bool) {
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

// noteAfter is how long a store may be in trouble before an operator must know.
const noteAfter = 10 * time.Second

// note returns a sentence on the shard's trouble, "" if there is none.
func (s *shard) note(waiting uint64) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lasted := time.Since(s.troubled)
	if s.problem == nil || s.kind == store.Retry && lasted < noteAfter {
		return ""
	}
	return fmt.Sprintf("shard %s: nothing written for %v, %d pings wait: %v", s.Name, lasted.Round(time.Second), waiting, s.problem) + advised(s.advice)
}
