package partition

import "math"

// The rates of cells are tracked in a fixed table of sets; a cell belongs to a single
// set, and a set has room for a few cells. When a cell comes to a full set, it replaces
// the coldest cell and takes over its rate, as a handicap for later cells (the
// Space-Saving of Metwally, Agrawal and El Abbadi, 2005, in each set): so a cell
// that gets more than an eighth of its set's pings is always tracked, however many
// cells there are. The rate taken over only decides which cell is replaced next; a
// cell is split only for its own pings.
const (
	trackedSets = 1024
	trackedWays = 8

	// MaxKeysMemory bounds what Keys allocates, in bytes, besides the cells split
	// beforehand (up to 2 KiB each): the table, and 16 MiB for sub-keys if all
	// its cells were split into MaxSplits.
	MaxKeysMemory = 18 << 20
)

// trackedSet has the cells first, so that finding one touches one cache line.
type trackedSet struct {
	cells   [trackedWays]uint64
	heat    [trackedWays]heat
	subKeys [trackedWays][]uint16 // at least as many as splits, if more than one
}

func (s *trackedSet) index(cell uint64) int {
	for i := range s.cells {
		if s.cells[i] == cell {
			return i
		}
	}
	return -1
}

// heat is the rate of a cell, counted by the second and decayed, and the number of
// sub-keys for that rate. The zero value is a cell without pings.
type heat struct {
	rate   float32 // pings/s, as of the start of second
	extra  float32 // rate taken over from the replaced cell, pings/s, decayed likewise
	count  uint32  // pings since the start of second
	second uint32  // s since 1970
	needed uint32  // second in which it last needed all of its splits
	splits uint16  // sub-keys; 0 only in an unused place
	listed bool    // is in Keys.hot
}

// total is the rate, with the extra, by which the coldest cell of a set is found.
func (h *heat) total() float32 { return h.rate + h.extra + float32(h.count)/rateMemory }

// rateMemory is the time constant of rates, in seconds.
const rateMemory = 10

// decay holds at i the factor that is left of a rate after i seconds.
var decay = func() (table [16 * rateMemory]float32) {
	for i := range table {
		table[i] = float32(math.Exp(-float64(i) / rateMemory))
	}
	return table
}()

// advance brings h to a later second: the count enters the rate, and the rate decays.
// The splits rise with the rate at once, and are halved each time that they were not
// needed for as long as Cool. An earlier second changes nothing.
func (k *Keys) advance(h *heat, least int, second uint32) {
	passed := int64(second) - int64(h.second)
	if passed <= 0 {
		return
	}
	if passed < int64(len(decay)) {
		h.rate = h.rate*decay[passed] + float32(h.count)*(1-decay[1])*decay[passed-1]
		h.extra *= decay[passed]
	} else {
		h.rate, h.extra = 0, 0
	}
	h.count, h.second = 0, second

	want := k.splits(h.rate, least)
	if want >= int(h.splits) {
		h.splits, h.needed = uint16(want), second
	}
	for cool := int64(k.cfg.Cool.Seconds()); int(h.splits) > want && int64(second)-int64(h.needed) >= cool; {
		h.splits, h.needed = h.splits/2, h.needed+uint32(cool)
	}
}

// splits returns the number of sub-keys for a rate, a power of two.
func (k *Keys) splits(rate float32, least int) int {
	n := max(1, least)
	for n < k.most && float64(rate) > k.cfg.HotRate*float64(n) {
		n *= 2
	}
	return n
}

func (k *Keys) isHot(h *heat) bool { return h.splits > 1 || float64(h.rate) > k.cfg.HotRate }

// turn brings a tracked cell to the second of its ping, if that is another second.
func (k *Keys) turn(s *trackedSet, i int, second uint32) {
	h, cell := &s.heat[i], s.cells[i]
	if second < h.second { // the clock was set back
		h.second, h.needed = second, min(h.needed, second)
		return
	}
	k.advance(h, len(k.pre[cell]), second)
	switch n := int(h.splits); {
	case n <= 1:
		s.subKeys[i] = nil
	case n > len(s.subKeys[i]):
		s.subKeys[i] = k.subKeys(cell, n)
	}
	if hot := k.isHot(h); hot || h.listed {
		h.listed = hot
		k.list(cell, h)
	}
}

// list updates the cell's entry in the list for Hot from h.
func (k *Keys) list(cell uint64, h *heat) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch n := len(k.pre[cell]); {
	case h.listed:
		k.hot[cell] = *h
	case n > 1:
		k.hot[cell] = heat{splits: uint16(n)}
	default:
		delete(k.hot, cell)
	}
}

// admit makes room for a cell in a set and returns its place.
func (k *Keys) admit(s *trackedSet, cell uint64, second uint32) int {
	out, coldest := 0, float32(math.Inf(1))
	for i := range s.heat {
		h := &s.heat[i]
		if h.splits == 0 {
			out = i
			break
		}
		if h.second != second {
			k.turn(s, i, second)
		}
		if heat := h.total(); heat < coldest {
			out, coldest = i, heat
		}
	}
	old := &s.heat[out]
	if old.listed {
		old.listed = false
		k.list(s.cells[out], old)
	}
	pre := k.pre[cell]
	h := heat{
		extra:  old.total(),
		second: second,
		needed: second,
		splits: uint16(max(1, len(pre))),
		listed: len(pre) > 1,
	}
	s.cells[out], s.heat[out], s.subKeys[out] = cell, h, pre
	return out
}
