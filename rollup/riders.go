package rollup

import (
	"hash/maphash"
	"math/bits"

	"github.com/axiomhq/hyperloglog"
)

// A rider is a hash of its name in a set: bit 0 tells whether it was seen
// moving, bit 1 is always set, so that no rider is 0. The hash has a seed of its
// own in each process, so that a client who chooses names cannot make them
// collide.
const (
	movingBit = 1
	riderBit  = 2
)

func riderHash(seed maphash.Seed, name string) uint64 {
	return maphash.String(seed, name)&^movingBit | riderBit
}

// exactRiders is how many riders a set counts exactly: they take half as much memory as
// an estimator, and are counted a hundred times faster. A larger set estimates:
// HyperLogLog of precision 16 has a standard error of 0.4 %.
const exactRiders = 6000

// riders is a set of riders, and of the riders that were seen moving. Its zero
// value is empty. Its blocks belong to a memory; reset gives them back.
type riders struct {
	slots  []uint64   // open addressing, at most three quarters full; 0 is free
	n      int        // riders in slots
	moving int        // riders in slots with movingBit
	many   *estimator // instead of slots, beyond exactRiders
}

// estimator estimates how many riders there are.
type estimator struct{ all, moving *hyperloglog.Sketch }

// add adds a rider, or that it was seen moving.
func (s *riders) add(m *memory, rider uint64) {
	if s.many != nil {
		s.many.add(rider)
		return
	}
	if 4*(s.n+1) > 3*len(s.slots) {
		s.grow(m)
	}
	at := s.find(rider)
	switch had := s.slots[at]; {
	case had == 0:
		s.slots[at] = rider
		s.n++
		s.moving += int(rider & movingBit)
	case had|movingBit == had || rider&movingBit == 0:
		return
	default:
		s.slots[at] |= movingBit
		s.moving++
	}
	if s.n > exactRiders {
		s.estimate(m)
	}
}

// touch reads the place of a rider, which add then finds in the cache.
func (s *riders) touch(rider uint64) uint64 {
	if len(s.slots) == 0 {
		return 0
	}
	return s.slots[int(rider>>2)&(len(s.slots)-1)]
}

// find returns the place of a rider, or the free place that the rider would
// take.
func (s *riders) find(rider uint64) int {
	mask := len(s.slots) - 1
	for i := int(rider>>2) & mask; ; i = (i + 1) & mask {
		if had := s.slots[i]; had == 0 || had|movingBit == rider|movingBit {
			return i
		}
	}
}

func (s *riders) grow(m *memory) {
	old := s.slots
	s.slots = m.table(max(4, 2*len(old)))
	for _, rider := range old {
		if rider != 0 {
			s.slots[s.find(rider)] = rider
		}
	}
	m.freeTable(old)
}

// estimate gives up the exact count.
func (s *riders) estimate(m *memory) {
	old := s.slots
	*s = riders{many: m.estimator()}
	for _, rider := range old {
		if rider != 0 {
			s.many.add(rider)
		}
	}
	m.freeTable(old)
}

// union adds all riders of o.
func (s *riders) union(m *memory, o *riders) {
	if o.many == nil {
		for _, rider := range o.slots {
			if rider != 0 {
				s.add(m, rider)
			}
		}
		return
	}
	if s.many == nil {
		s.estimate(m)
	}
	s.many.merge(o.many)
}

// count returns how many riders there are and how many of them were seen moving.
func (s *riders) count() (all, moving uint64) {
	if s.many == nil {
		return uint64(s.n), uint64(s.moving)
	}
	all = s.many.all.Estimate()
	return all, min(all, s.many.moving.Estimate())
}

// reset empties s.
func (s *riders) reset(m *memory) {
	m.freeTable(s.slots)
	m.freeEstimator(s.many)
	*s = riders{}
}

func (s *estimator) add(rider uint64) {
	s.all.InsertHash(rider &^ movingBit)
	if rider&movingBit != 0 {
		s.moving.InsertHash(rider &^ movingBit)
	}
}

func (s *estimator) merge(o *estimator) {
	for _, pair := range [...][2]*hyperloglog.Sketch{{s.all, o.all}, {s.moving, o.moving}} {
		if err := pair[0].Merge(pair[1]); err != nil {
			panic(err) // cannot happen: all estimators have the same precision
		}
	}
}

// memory hands out the blocks that counts are kept in, again and again, and counts
// the bytes in use. Its zero value keeps no block that is given back.
type memory struct {
	used       int64          // bytes handed out
	spare      int64          // bytes given back and kept
	most       int64          // most spare bytes
	least      int64          // spare bytes that are kept though few are in use
	tables     [16][][]uint64 // given back, by the logarithm of their size
	estimators []*estimator   // given back
}

const (
	estimatorBytes = 2 << 16 // two sketches, a byte for each register
	listed         = 32      // about the bytes of a spare table's place in its list
)

// newMemory returns a memory for an owner that may take limit bytes.
func newMemory(limit int64) memory { return memory{most: limit / 4, least: limit / 32} }

// tidy gives up the spare blocks if they take more bytes than the blocks in use: then they
// were needed once, and are not likely to be needed soon.
func (m *memory) tidy() {
	if m.spare > max(m.least, m.used) {
		m.drop()
	}
}

// drop gives up the spare blocks.
func (m *memory) drop() {
	m.spare, m.estimators = 0, nil
	clear(m.tables[:])
}

// table returns n free slots; n is a power of two.
func (m *memory) table(n int) []uint64 {
	m.used += int64(8 * n)
	list := &m.tables[bits.TrailingZeros(uint(n))]
	last := len(*list) - 1
	if last < 0 {
		return make([]uint64, n)
	}
	t := (*list)[last]
	*list = (*list)[:last]
	m.spare -= int64(8*n) + listed
	return t
}

func (m *memory) freeTable(t []uint64) {
	if len(t) == 0 {
		return
	}
	m.used -= int64(8 * len(t))
	if m.spare+int64(8*len(t))+listed > m.most {
		return
	}
	m.spare += int64(8*len(t)) + listed
	clear(t)
	list := &m.tables[bits.TrailingZeros(uint(len(t)))]
	*list = append(*list, t)
}

func (m *memory) estimator() *estimator {
	m.used += estimatorBytes
	if last := len(m.estimators) - 1; last >= 0 {
		s := m.estimators[last]
		m.estimators = m.estimators[:last]
		m.spare -= estimatorBytes
		return s
	}
	return &estimator{all: hyperloglog.New16NoSparse(), moving: hyperloglog.New16NoSparse()}
}

func (m *memory) freeEstimator(s *estimator) {
	if s == nil {
		return
	}
	m.used -= estimatorBytes
	if m.spare+estimatorBytes > m.most {
		return
	}
	m.spare += estimatorBytes
	s.all.Reset()
	s.moving.Reset()
	m.estimators = append(m.estimators, s)
}
