// Package rate limits how much each of any number of names may do in a second.
//
// Memory is fixed: beyond it names are forgotten, those that have the most left first.
// It does not say who is over a limit, and keeps nothing across a restart.
package rate

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Buckets limit how much each of any number of names may send: a bucket of burst
// that refills by so many a second. A name whose bucket is not empty may send,
// and pays for it even if the bucket then owes: a request is one thing. It is
// safe for concurrent use; a nil one lets all pass.
//
// Memory is fixed, 16 bytes a bucket. A full bucket need not be remembered, and one that is
// not is so for as long as what was taken takes to refill: at 10 pings/s a name,
// 260,000 of them (4 MiB) are never all in use below 2.6 million pings/s. Beyond
// that the fullest are forgotten first.
type Buckets struct {
	each  float64 // ns that one takes to refill, whole
	burst float64 // ns that a bucket takes to refill
	seed  maphash.Seed
	start time.Time
	locks [stripes]stripe
	sets  []set // a power of two of them
}

const (
	slowest = 1e27    // ns: a rate at which nothing ever refills
	longest = 1 << 62 // ns, that a wait is said to be
	stripes = 256
	ways    = 4 // fill a line of memory
)

// stripe is a lock on a line of its own: two of them on one would be one.
type stripe struct {
	sync.Mutex // guards the riders of one stripe; nothing else is locked under it
	_          [56]byte
}

// bucket is a name's, known by its hash only: two names in a billion billion
// share one. Times are float64, as one of a billion at a slow rate takes more ns to
// refill than an int64 can count; below a hundred days they are exact.
type bucket struct {
	hash atomic.Uint64 // set under the lock, so that Touch needs none
	full float64       // when it is full again, ns since start
}

// set holds the buckets of names whose hashes end alike.
type set [ways]bucket

// find returns the bucket of key, or else the one to take for it: the fullest.
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

// New returns limits of rate a second and burst at once, one at least, with memory for
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

// Key is a name as rates know it.
func (r *Buckets) Key(name string) uint64 {
	if r == nil {
		return 0
	}
	return maphash.String(r.seed, name)
}

// Touch brings key's bucket near. A caller with many keys touches all first: the
// waits for memory then overlap, which they do not across locks.
func (r *Buckets) Touch(key uint64) uint64 {
	return r.sets[key&uint64(len(r.sets)-1)][0].hash.Load()
}

// Take lets n pass and returns 0, or takes nothing and returns how long it is
// until the bucket has something in it.
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
	if wait := b.full - at - r.burst + r.each; wait > 0 { // less than one is in it
		return time.Duration(min(max(wait, 1), longest))
	}
	b.full += float64(n) * r.each
	return 0
}

// Left returns how many are in the bucket.
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

// Pay takes n more from a bucket that has let pass, or puts back -n that were
// taken for nothing.
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

// bucket returns key's bucket, or the one to take for it, under its lock.
func (r *Buckets) bucket(key uint64) (*bucket, *stripe) {
	at := key & uint64(len(r.sets)-1)
	lock := &r.locks[at%stripes]
	lock.Lock()
	return r.sets[at].find(key), lock
}
