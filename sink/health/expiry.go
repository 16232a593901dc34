package health

import (
	"sync"
	"time"

	"pingline/sink/store"
)

// A row that is older than its store keeps is refused for its age alone: had it
// been written in time, it would be gone by now. So it counts against no budget,
// and such rows take at most half of the room for dead letters; beyond that they
// are counted and not kept. Few of them come, since phones are told how old a
// ping may be, by Sink.Kept.

// Expiry is how long a shard's store keeps points, as far as is known. Safe for
// concurrent use.
type Expiry struct {
	mu   sync.Mutex    // guards all fields; nothing else is locked under it
	told time.Duration // retention that the server tells; 0: for ever, or it does not say
	// seen is the age of the youngest row that was refused for its age, 0 if none
	// was. It is all that is known if the server does not tell its retention, and
	// it ends when a row of that age is taken, or the server tells after all.
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

// Guessed returns the retention as guessed from refusals, 0 if it is not
// guessed.
func (x *Expiry) Guessed() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.seen
}

// Least returns the smaller of two retentions, where 0 means for ever.
func Least(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Tell records the retention that the server tells.
func (x *Expiry) Tell(keep time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if keep != x.told {
		x.told, x.seen = keep, 0
	}
}

// Refused records a row of that age that was refused for it.
func (x *Expiry) Refused(e *store.Refusal, age time.Duration) {
	if e.Keeps > 0 {
		x.Tell(e.Keeps)
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seen = Least(x.seen, max(age, 1))
}

// Took records that a row of that age was taken.
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
