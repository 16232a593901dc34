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

// shard is a store and the state shared by all lanes that write to it: its own
// lanes, and the lanes of shards that are down.
type shard struct {
	ShardStore
	cfg        *Config
	qualified  string // its name, unique over all sets
	spread     bool   // keys are spread over it and other shards, which may stand in for it
	routedOnly bool   // it gets only the entries that a route sends to it
	breaker    *limit.Breaker
	health     *health.Health
	writes     *limit.Scheduler
	bytes      int                 // most bytes of a batch
	pool       *semaphore.Weighted // bytes of batches of its lanes, beside the two batches that each lane may have
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

// laneBatches is how many full batches a shard's part of the memory holds: each
// of its lanes, and each lane that fills a hole, may have two batches, one being
// filled and one in flight; the fastest lanes take the rest. A dead shard takes
// up only its own part.
const laneBatches = 16

func (s *Sink) newShard(i int) *shard {
	cfg, over := &s.cfg, s.router.Over()
	layout := cfg.Layout()
	sh := &shard{ShardStore: cfg.Shards[i], cfg: cfg, qualified: layout.Qualified(i), spread: over > 1 && i < over, routedOnly: i >= over}
	sh.breaker = limit.NewBreaker(sh.Name, cfg.RetryMax/2, cfg.Timeout/2)
	sh.health = health.New(sh.Name, cfg.Timeout, cfg.RetryMax, sh.breaker, cfg.Logger)
	sh.writes = limit.NewScheduler(sh.breaker, cfg.Timeout/4)
	sh.holes.news = make(chan struct{}, 1)
	part := cfg.BatchMemory / len(cfg.Shards)
	sh.bytes = max(min(cfg.BatchBytes, part/laneBatches), minBatchBytes)
	sh.pool = semaphore.NewWeighted(int64((laneBatches - 2*(int(route.LaneKinds)+1)) * sh.bytes))
	return sh
}

// account updates the bytes counted for b: none once it is done. The goroutine
// that holds b calls it.
func (s *shard) account(b *batch.Encoded, done bool) {
	size := b.Size()
	if done {
		size = 0
	}
	s.memory.Add(int64(size - b.Counted))
	b.Counted = size
}

// learn records the age of the oldest row that the store has taken, if the
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

// expired counts rows that are older than the store keeps and that did not
// become dead letters.
func (s *shard) expired(rows int) {
	if all, news := s.expiry.Skip(rows); news {
		s.cfg.Logger.Warn("rows older than the store keeps are counted, but not kept: they may take half of the room for dead letters, and that half is full", "shard", s.Name, "rows", all)
	}
}
