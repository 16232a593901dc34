package slab

// Index finds a value by a hash. It is a table of the hash and the number of a value (0
// if free) with linear probing. Its length is a power of two, and its owner keeps some of
// it free.
type Index []uint64

// NewIndex returns an index with n places.
func NewIndex(n int) Index {
	x := make(Index, n)
	wantHuge(x)
	return x
}

// Guess returns a value of that hash, 0 if there is none.
func (x Index) Guess(hash uint32) uint32 {
	mask := uint32(len(x) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		if slot := x[at]; slot == 0 || uint32(slot>>32) == hash {
			return uint32(slot)
		}
	}
}

// Put adds value i.
func (x Index) Put(hash, i uint32) {
	mask := uint32(len(x) - 1)
	at := hash & mask
	for x[at] != 0 {
		at = (at + 1) & mask
	}
	x[at] = uint64(hash)<<32 | uint64(i)
}

// Remove takes value i out and moves up the slots behind it, so that no probe ends
// too early.
func (x Index) Remove(hash, i uint32) {
	mask := uint32(len(x) - 1)
	at := hash & mask
	for uint32(x[at]) != i {
		at = (at + 1) & mask
	}
	for to := (at + 1) & mask; x[to] != 0; to = (to + 1) & mask {
		home := uint32(x[to]>>32) & mask
		if (to-home)&mask >= (to-at)&mask {
			x[at] = x[to]
			at = to
		}
	}
	x[at] = 0
}
