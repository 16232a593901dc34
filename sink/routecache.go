package sink

import (
	"container/list"
	"slices"
	"sync"
	"time"
	"unsafe"

	"pingline"
	"pingline/queue"
)

// routeCache decodes and routes a commit once, for all lanes. Each lane reads every
// commit, and most are at the same place, the head of the log: the first lane that
// asks decodes and routes the commit, and the others get the slots of their
// entries. A commit is evicted once as many have asked as there are lanes. Commits
// that some lanes have not asked for yet are kept up to routeCacheBytes, the newest
// and at least one; a lane that comes later routes the commit again.
//
// With 16 shards, 64 lanes that each decoded everything took 4.2 µs an entry; they
// take 0.5: see BenchmarkLanesRead. It is safe for concurrent use.
type routeCache struct {
	laneOf func(*pingline.Entry, int64) laneID
	lanes  int // how many ask for each commit, those of holes aside

	// mu guards the fields below, and those of each routed that say so; nothing else
	// is locked under it.
	mu      sync.Mutex
	commits map[uint64]*routed // by number
	order   list.List          // of them, the one asked for first in front
	bytes   int                // of all of them
}

// routed is a commit and the lanes of its entries. Once decoded it does not change,
// but for the fields that the cache guards.
type routed struct {
	once  sync.Once
	at    int64                           // when the commit was written, ms; now if that cannot be read
	slots []slot                          // of the entries that have a lane, in order
	found [pingline.TotalLines + 1]uint64 // how many can be read, by the total that counts them
	err   error                           // why the rest cannot be read; nil if there is none

	// Guarded by the cache's mu.
	number  uint64
	asked   int           // by how many lanes
	bytes   int           // counted in the cache's
	element *list.Element // of the cache's order; nil once evicted
}

// slot is where in its commit an entry begins, and the lane it belongs to.
type slot struct {
	lane   laneID
	offset uint32
}

const (
	routeCacheBytes = 1 << 20                    // kept at most: seconds of the log's head
	routedBytes     = 256                        // about, of a routed without its slots, with its part of map and list
	slotBytes       = int(unsafe.Sizeof(slot{})) // of a slot
)

// route returns the lanes of the entries of a commit.
func (c *routeCache) route(rec *queue.Record) *routed {
	r := c.lookup(rec.Number)
	r.once.Do(func() {
		r.decode(rec.Payload, c.laneOf)
		c.count(r)
	})
	return r
}

// lookup returns the cached commit, or a new one that is not decoded.
func (c *routeCache) lookup(number uint64) *routed {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.commits[number]
	if r == nil {
		r = &routed{number: number, bytes: routedBytes}
		if c.commits == nil {
			c.commits = make(map[uint64]*routed)
		}
		c.commits[number], r.element = r, c.order.PushBack(r)
		c.bytes += r.bytes
	}
	if r.asked++; r.asked == c.lanes {
		c.evict(r)
	}
	return r
}

// count makes room for the slots of r.
func (c *routeCache) count(r *routed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.element == nil {
		return
	}
	slots := slotBytes * cap(r.slots)
	r.bytes += slots
	c.bytes += slots
	for c.bytes > routeCacheBytes && c.order.Len() > 1 {
		c.evict(c.order.Front().Value.(*routed))
	}
}

// evict forgets r; lanes that have it go on with it. The caller holds mu.
func (c *routeCache) evict(r *routed) {
	c.order.Remove(r.element)
	r.element = nil
	delete(c.commits, r.number)
	c.bytes -= r.bytes
}

// size returns how many bytes are taken.
func (c *routeCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// scratch holds slots while a commit is decoded: most commits have fewer than
// entries, and many none.
var scratch = sync.Pool{New: func() any { return new([]slot) }}

func (r *routed) decode(payload []byte, laneOf func(*pingline.Entry, int64) laneID) {
	header, rest, err := pingline.DecodeCommit(payload)
	if err != nil {
		r.at, r.err = time.Now().UnixMilli(), err
		return
	}
	r.at = header.At
	room := scratch.Get().(*[]slot)
	slots := (*room)[:0]
	defer func() {
		if len(slots) > 0 { // a copy of nothing would hold on to room
			r.slots = slices.Clone(slots)
		}
		*room = slots
		scratch.Put(room)
	}()
	var e pingline.Entry
	for {
		offset := len(payload) - rest.Rest()
		more, err := rest.Next(&e)
		if !more {
			r.err = err
			return
		}
		if lane := laneOf(&e, r.at); lane != noLane {
			slots = append(slots, slot{lane, uint32(offset)})
			if e.Stored() {
				r.found[pingline.TotalStored]++
			} else {
				r.found[pingline.TotalLines]++
			}
		}
	}
}
