package route

import (
	"container/list"
	"slices"
	"sync"
	"time"
	"unsafe"

	"pingline"
	"pingline/queue"
)

// Cache decodes and routes a commit once, for all lanes. Each lane reads every
// commit, and most are at the same place, the head of the log: the first lane that
// asks decodes and routes the commit, and all later lanes get the slots of their
// entries. A commit is evicted once all lanes have asked. Commits that some lanes
// have not asked for yet are kept up to CacheBytes, the newest and at least one; a
// lane that comes later routes the commit again.
//
// With 16 shards, 64 lanes that each decoded everything took 4.2 µs an entry; they
// take 0.5: see BenchmarkLanesRead of sink/batch. It is safe for concurrent use.
type Cache struct {
	laneOf func(*pingline.Entry, int64) LaneID // of an entry that is Stored, a point or a ready line
	lanes  int                                 // how many lanes ask for each commit; lanes that fill holes do not count

	// mu guards the fields below, and the fields of each Routed that say so; nothing
	// else is locked under it.
	mu      sync.Mutex
	commits map[uint64]*Routed // by number
	order   list.List          // of commits, in the order in which they were first asked for
	bytes   int                // of all of them
}

// NewCache returns an empty cache for a number of lanes; with 0 lanes commits
// are evicted only when room runs out.
func NewCache(laneOf func(*pingline.Entry, int64) LaneID, lanes int) *Cache {
	return &Cache{laneOf: laneOf, lanes: lanes}
}

// Routed is a commit and the lanes of its entries. Once decoded it does not change,
// but for the fields that the cache guards.
type Routed struct {
	once  sync.Once
	At    int64                           // when the commit was written, ms; the present time if that cannot be read
	Slots []Slot                          // of the entries that have a lane, in order
	Found [pingline.TotalLines + 1]uint64 // how many entries can be read, by the total that counts them
	Err   error                           // why the rest cannot be read; nil if there is none

	// Guarded by the cache's mu.
	number  uint64
	asked   int           // how many lanes have asked for it
	bytes   int           // its part of the cache's bytes
	element *list.Element // of the cache's order; nil once evicted
}

// Slot is where in its commit an entry begins, and the lane it belongs to.
type Slot struct {
	Lane   LaneID
	Offset uint32
}

// CacheBytes is how many bytes a cache keeps at most: seconds of the log's head, and what
// lanes that catch up are apart from one another.
const CacheBytes = 8 << 20

const (
	routedBytes = 256                        // bytes of a Routed without its slots, about, with its part of map and list
	slotBytes   = int(unsafe.Sizeof(Slot{})) // of a slot
)

// Route returns the lanes of the entries of a commit.
func (c *Cache) Route(rec *queue.Record) *Routed {
	r := c.lookup(rec.Number)
	r.once.Do(func() {
		r.decode(rec.Payload, c.laneOf)
		c.count(r)
	})
	return r
}

// lookup returns the cached commit, or a new commit that is not decoded.
func (c *Cache) lookup(number uint64) *Routed {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.commits[number]
	if r == nil {
		r = &Routed{number: number, bytes: routedBytes}
		if c.commits == nil {
			c.commits = make(map[uint64]*Routed)
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
func (c *Cache) count(r *Routed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.element == nil {
		return
	}
	slots := slotBytes * cap(r.Slots)
	r.bytes += slots
	c.bytes += slots
	for c.bytes > CacheBytes && c.order.Len() > 1 {
		c.evict(c.order.Front().Value.(*Routed))
	}
}

// evict forgets r; lanes that have it go on with it. The caller holds mu.
func (c *Cache) evict(r *Routed) {
	c.order.Remove(r.element)
	r.element = nil
	delete(c.commits, r.number)
	c.bytes -= r.bytes
}

// Size returns how many bytes the cache takes.
func (c *Cache) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// scratch holds slots while a commit is decoded: most commits have fewer than
// entries, and many none.
var scratch = sync.Pool{New: func() any { return new([]Slot) }}

func (r *Routed) decode(payload []byte, laneOf func(*pingline.Entry, int64) LaneID) {
	header, rest, err := pingline.DecodeCommit(payload)
	if err != nil {
		r.At, r.Err = time.Now().UnixMilli(), err
		return
	}
	r.At = header.At
	room := scratch.Get().(*[]Slot)
	slots := (*room)[:0]
	defer func() {
		if len(slots) > 0 { // an empty copy would keep its memory
			r.Slots = slices.Clone(slots)
		}
		*room = slots
		scratch.Put(room)
	}()
	var e pingline.Entry
	for {
		rest.PassUnstored() // which have no lane
		offset := rest.Offset()
		more, err := rest.Next(&e)
		if !more {
			r.Err = err
			return
		}
		if lane := laneOf(&e, r.At); lane != NoLane {
			slots = append(slots, Slot{lane, uint32(offset)})
			if e.Stored() {
				r.Found[pingline.TotalStored]++
			} else {
				r.Found[pingline.TotalLines]++
			}
		}
	}
}
