// Package rate limits how much each of any number of names may do in a second.
//
// Memory is fixed: when it is full, the names that have the most left are forgotten
// first. The package does not list names over a limit, and keeps nothing across a
// restart.
package rate

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Buckets limit how much each of any number of names may send: a token bucket of burst
// for each name, refilled by so many tokens a second. A name whose bucket is not empty
// may send, and pays even if the bucket then owes, because a request is not divided. It
// is safe for concurrent use; nil Buckets let all pass.
//
// Memory is fixed, 16 bytes a bucket. A full bucket need not be remembered, and any
// bucket is full again once the tokens taken have been refilled: at 10 pings/s a name,
// 260,000 buckets (4 MiB) are never all in use below 2.6 million pings/s. Beyond that
// the fullest are forgotten first.
type Buckets struct {
	each  float64 // ns to refill a token, a whole number
	burst float64 // ns to refill an empty bucket
	seed  maphash.Seed
	start time.Time
	locks [stripes]stripe
	sets  []set // a power of two of them
}

const (
	slowest = 1e27    // ns: a rate at which nothing ever refills
	longest = 1 << 62 // ns, the longest wait returned
	stripes = 256
	ways    = 4 // buckets that fill a cache line
)

// stripe is a lock on a cache line of its own: two locks on a line would contend like a
// single lock.
type stripe struct {
	sync.Mutex // guards the buckets of a stripe; nothing else is locked under it
	_          [56]byte
}

// bucket is the bucket of a name, known by the name's hash only: two names in a billion
// billion have the same bucket. Times are float64, because a bucket of a billion at a
// slow rate takes more ns to refill than an int64 can count; below a hundred days they
// are exact.
type bucket struct {
	hash atomic.Uint64 // set under the lock; atomic, so that Touch needs no lock
	full float64       // time at which it is full again, ns since start
}

// set holds the buckets of names whose hashes end in the same bits.
type set [ways]bucket

// find returns the bucket of key, or else the fullest bucket, to be used for key.
func (s *set) find(key uint64) *bucket {
	fullest := &s[0]
	for i := range s {
		if s[i].hash.Load() == key {
			return &s[i]
		}
		if s[i].full < fullest.full {
			fullest = &s[i]
		}
	}
	return fullest
}

// New returns limits of rate a second and burst at once, at least 1, with memory for
// about so many buckets; nil if rate is 0.
func New(rate, burst float64, buckets int) *Buckets {
	if rate == 0 {
		return nil
	}
	each := min(max(math.Floor(float64(time.Second)/rate), 1), slowest)
	n := 1
	for n*ways < buckets {
		n *= 2
	}
	return &Buckets{
		each: each, burst: math.Floor(each * max(burst, 1)), seed: maphash.MakeSeed(), start: time.Now(),
		sets: make([]set, n),
	}
}

// Key returns the key of a name.
func (r *Buckets) Key(name string) uint64 {
	if r == nil {
		return 0
	}
	return maphash.String(r.seed, name)
}

// Touch brings key's bucket into the cache. A caller with many keys touches all first, so
// that the waits for memory overlap; across locks they would not.
func (r *Buckets) Touch(key uint64) uint64 {
	return r.sets[key&uint64(len(r.sets)-1)][0].hash.Load()
}

// Take takes n tokens and returns 0, or takes none and returns the time until the bucket
// is no longer empty.
func (r *Buckets) Take(key uint64, n int, now time.Time) (wait time.Duration) {
	if r == nil {
		return 0
	}
	at := float64(now.Sub(r.start))
	b, lock := r.bucket(key)
	defer lock.Unlock()
	if b.hash.Load() != key {
		b.hash.Store(key)
		b.full = at
	}
	b.full = max(b.full, at)
	if wait := b.full - at - r.burst + r.each; wait > 0 { // less than a token is left
		return time.Duration(min(max(wait, 1), longest))
	}
	b.full += float64(n) * r.each
	return 0
}

// Left returns the number of tokens in the bucket.
func (r *Buckets) Left(key uint64, now time.Time) int {
	if r == nil {
		return math.MaxInt
	}
	at := float64(now.Sub(r.start))
	b, lock := r.bucket(key)
	defer lock.Unlock()
	full := at
	if b.hash.Load() == key {
		full = max(b.full, at)
	}
	return int(min(max(0, (r.burst-(full-at))/r.each), math.MaxInt32))
}

// Pay takes n more tokens without asking, or, if n is negative, puts -n tokens back.
func (r *Buckets) Pay(key uint64, n int) {
	if r == nil {
		return
	}
	b, lock := r.bucket(key)
	defer lock.Unlock()
	if b.hash.Load() == key {
		b.full += float64(n) * r.each
	}
}

// bucket returns key's bucket, or the bucket to be used for key, under its lock.
func (r *Buckets) bucket(key uint64) (*bucket, *stripe) {
	at := key & uint64(len(r.sets)-1)
	lock := &r.locks[at%stripes]
	lock.Lock()
	return r.sets[at].find(key), lock
}
