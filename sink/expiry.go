package sink

import (
	"context"
	"sync"
	"time"

	"pingline/sink/route"
	"pingline/sink/store"
)

// A row that is older than its store keeps is refused for its age
// alone: had it been written in time, it would be gone by now. So it
// counts against no budget, and takes at most half of the room for dead letters;
// beyond that it is counted and not kept. Phones are told, so that few of them
// come: Sink.Kept says how old a ping may be.

// expiry is how long a shard's store keeps points, as far as is known. Safe for
// concurrent use.
type expiry struct {
	mu   sync.Mutex    // guards all fields; nothing else is locked under it
	told time.Duration // by the server; 0: for ever, or it does not say
	// The age of the youngest row that was refused for it, 0 if none was: all that
	// is known of a server that does not say. A row of that age that is taken, or
	// another answer, ends it.
	seen time.Duration

	unkept   uint64 // rows that were counted and not kept
	reported time.Time
}

// keeps returns how long the store keeps points, 0 for ever or if nothing is known.
func (x *expiry) keeps() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return least(x.told, x.seen)
}

// guessed returns the retention as guessed from refusals, 0 if it is not.
func (x *expiry) guessed() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen
}

// least returns the smaller of two, neither of which counts if it is 0.
func least(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// tell records the retention that the server says.
func (x *expiry) tell(keep time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if keep != x.told {
		x.told, x.seen = keep, 0
	}
}

// refused records a row that was too old.
func (x *expiry) refused(e *store.Refusal, age time.Duration) {
	if e.Keeps > 0 {
		x.tell(e.Keeps)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = least(x.seen, max(age, 1))
}

// took records a row that was not too old.
func (x *expiry) took(age time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if age >= x.seen {
		x.seen = 0
	}
}

// skip counts rows that are not kept, and reports whether that is news.
func (x *expiry) skip(rows int) (all uint64, news bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unkept += uint64(rows)
	if news = time.Since(x.reported) >= reportEvery; news {
		x.reported = time.Now()
	}
	return x.unkept, news
}

func (x *expiry) skipped() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.unkept
}

// Kept returns how long pings are kept where they go to, those without an event
// and those with one: of several shards the least. 0 is for ever, or not known.
func (s *Sink) Kept() (pings, events time.Duration) {
	return s.kept(route.Location), s.kept(route.Event)
}

func (s *Sink) kept(route int) (keep time.Duration) {
	from, to := s.router.Goals(route)
	for _, sh := range s.shards[from:to] {
		keep = least(keep, sh.expiry.keeps())
	}
	return keep
}

// learnEvery is how often a store is asked how long it keeps rows.
const learnEvery = 10 * time.Second

// learn asks how long pings are kept until ctx ends, and returns nil. A server
// that does not answer is asked by a goroutine of its own, so that it holds up
// no other.
func (s *Sink) learn(ctx context.Context, sh *shard) error {
	says, ok := sh.Store.(store.Retainer)
	for ok && ctx.Err() == nil {
		if keep, told := says.Retention(ctx); told {
			sh.expiry.tell(keep)
		}
		_ = sleep(ctx, learnEvery)
	}
	return nil
}
