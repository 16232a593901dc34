package sink

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"pingline/sink/batch"
	"pingline/sink/health"
	"pingline/sink/limit"
	"pingline/sink/route"
)

// shard is one store and the state shared by all lanes that write to it, its own
// and those of shards that are down.
type shard struct {
	ShardStore
	cfg        *Config
	spread     bool // keys are spread over it and others, which may stand in for it
	routedOnly bool // it gets only entries that routes name it for
	breaker    *limit.Breaker
	health     *health.Health
	writes     *limit.Scheduler
	bytes      int                 // most of a batch
	pool       *semaphore.Weighted // bytes of batches of its lanes, beside the two that each may have
	holes      holes
	memory     atomic.Int64         // bytes of its lanes' batches, and of the writes to it
	counters   shardCounters        // of its lanes
	budget     health.RefusalBudget // of its refusals
	expiry     health.Expiry        // of its bucket

	// mu guards the fields below; nothing else is locked under it.
	mu            sync.Mutex
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
	sh := &shard{ShardStore: cfg.Shards[i], cfg: cfg, spread: over > 1 && i < over, routedOnly: i >= over}
	sh.breaker = limit.NewBreaker(sh.Name, cfg.RetryMax/2, cfg.Timeout/2)
	sh.health = health.New(sh.Name, cfg.Timeout, cfg.RetryMax, sh.breaker, cfg.Logger)
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
	if s.expiry.Guessed() == 0 {
		return
	}
	oldest := b.At[rows[0]]
	for _, i := range rows {
		oldest = min(oldest, b.At[i])
	}
	s.expiry.Took(time.Since(time.UnixMilli(oldest)))
}

// expired counts rows that the store would not keep any more and that did not
// become dead letters.
func (s *shard) expired(rows int) {
	if all, news := s.expiry.Skip(rows); news {
		s.cfg.Logger.Warn("rows older than the store keeps are counted, but not kept: such rows have their half of the dead letters", "shard", s.Name, "rows", all)
	}
}
