package health

import (
	"sync"
	"time"

	"pingline/sink/store"
)

// A row that is older than its store keeps is refused for its age
// alone: had it been written in time, it would be gone by now. So it
// counts against no budget, and takes at most half of the room for dead letters;
// beyond that it is counted and not kept. Phones are told, so that few of them
// come: Sink.Kept says how old a ping may be.

// Expiry is how long a shard's store keeps points, as far as is known. Safe for
// concurrent use.
type Expiry struct {
	mu   sync.Mutex    // guards all fields; nothing else is locked under it
	told time.Duration // by the server; 0: for ever, or it does not say
	// The age of the youngest row that was refused for it, 0 if none was: all that
	// is known of a server that does not say. A row of that age that is taken, or
	// another answer, ends it.
	seen time.Duration

	unkept   uint64 // rows that were counted and not kept
	reported time.Time
}

// Keeps returns how long the store keeps points, 0 for ever or if nothing is known.
func (x *Expiry) Keeps() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return Least(x.told, x.seen)
}

// Guessed returns the retention as guessed from refusals, 0 if it is not.
func (x *Expiry) Guessed() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen
}

// Least returns the smaller of two, neither of which counts if it is 0.
func Least(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Tell records the retention that the server says.
func (x *Expiry) Tell(keep time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if keep != x.told {
		x.told, x.seen = keep, 0
	}
}

// Refused records a row that was too old.
func (x *Expiry) Refused(e *store.Refusal, age time.Duration) {
	if e.Keeps > 0 {
		x.Tell(e.Keeps)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = Least(x.seen, max(age, 1))
}

// Took records a row that was not too old.
func (x *Expiry) Took(age time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if age >= x.seen {
		x.seen = 0
	}
}

// Skip counts rows that are not kept, and reports whether that is news.
func (x *Expiry) Skip(rows int) (all uint64, news bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unkept += uint64(rows)
	if news = time.Since(x.reported) >= ReportEvery; news {
		x.reported = time.Now()
	}
	return x.unkept, news
}

// Skipped returns how many rows were counted and not kept.
func (x *Expiry) Skipped() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.unkept
}
