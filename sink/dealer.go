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

// dealer tells the lanes what of a commit is theirs. Each of them reads every
// commit, and most stand at the same place, the head of the log: so a commit is
// decoded and routed once, by the first who asks, and the others are told where
// in it their entries lie. A commit is let go of once as many have asked as there
// are lanes; what lanes that stand elsewhere have not asked for yet is kept up to
// dealerBytes, the newest and one commit at least, and a lane that comes later
// deals for itself.
//
// With 16 shards, 64 lanes that each decoded everything took 4.2 µs an entry; they
// take 0.5: see BenchmarkLanesRead.
type dealer struct {
	owner func(*pingline.Entry, int64) owner
	lanes int // how many ask for each commit, those of holes aside

	mu    sync.Mutex
	known map[uint64]*dealt // by number
	order list.List         // of them, the one asked for first in front
	bytes int               // what all of them take
}

// dealt is a commit and whose its entries are. Once dealt it does not change, but
// for what the dealer guards.
type dealt struct {
	once   sync.Once
	at     int64                           // when the commit was written, ms; now if that cannot be read
	places []place                         // of the entries that have an owner, in order
	found  [pingline.TotalLines + 1]uint64 // how many can be read, by the total that counts them
	err    error                           // why the rest cannot be read; nil if there is none

	// Guarded by the dealer's mu.
	number uint64
	asked  int           // by how many
	bytes  int           // counted in the dealer's
	in     *list.Element // of the dealer's order; nil once let go of
}

// place is where in its commit an entry begins, and whose it is.
type place struct {
	owner  owner
	offset uint32
}

const (
	dealerBytes = 1 << 20                     // kept at most: seconds of the log's head
	dealtBytes  = 256                         // about what a dealt takes without its places, with its part of map and list
	placeBytes  = int(unsafe.Sizeof(place{})) // of a place
)

// deal returns whose the entries of a commit are.
func (s *dealer) deal(rec *queue.Record) *dealt {
	c := s.ask(rec.Number)
	c.once.Do(func() {
		c.deal(rec.Payload, s.owner)
		s.count(c)
	})
	return c
}

// ask returns what is known of a commit, or a new dealt.
func (s *dealer) ask(number uint64) *dealt {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.known[number]
	if c == nil {
		c = &dealt{number: number, bytes: dealtBytes}
		if s.known == nil {
			s.known = make(map[uint64]*dealt)
		}
		s.known[number], c.in = c, s.order.PushBack(c)
		s.bytes += c.bytes
	}
	if c.asked++; c.asked == s.lanes {
		s.letGo(c)
	}
	return c
}

// count makes room for the places of c.
func (s *dealer) count(c *dealt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.in == nil {
		return
	}
	places := placeBytes * cap(c.places)
	c.bytes += places
	s.bytes += places
	for s.bytes > dealerBytes && s.order.Len() > 1 {
		s.letGo(s.order.Front().Value.(*dealt))
	}
}

// letGo forgets c; those who have it go on with it. The caller holds mu.
func (s *dealer) letGo(c *dealt) {
	s.order.Remove(c.in)
	c.in = nil
	delete(s.known, c.number)
	s.bytes -= c.bytes
}

// size returns how many bytes are taken.
func (s *dealer) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// scratch holds places while a commit is dealt: most commits have fewer than
// entries, and many none.
var scratch = sync.Pool{New: func() any { return new([]place) }}

func (c *dealt) deal(payload []byte, whose func(*pingline.Entry, int64) owner) {
	header, rest, err := pingline.DecodeCommit(payload)
	if err != nil {
		c.at, c.err = time.Now().UnixMilli(), err
		return
	}
	c.at = header.At
	room := scratch.Get().(*[]place)
	places := (*room)[:0]
	defer func() {
		if len(places) > 0 { // a copy of nothing would hold on to room
			c.places = slices.Clone(places)
		}
		*room = places
		scratch.Put(room)
	}()
	var e pingline.Entry
	for {
		offset := len(payload) - rest.Rest()
		more, err := rest.Next(&e)
		if !more {
			c.err = err
			return
		}
		if who := whose(&e, c.at); who != nobody {
			places = append(places, place{who, uint32(offset)})
			if e.Stored() {
				c.found[pingline.TotalStored]++
			} else {
				c.found[pingline.TotalLines]++
			}
		}
	}
}
