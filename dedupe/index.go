package dedupe

// index finds a track by the hash of its name. It is a table of hash and track
// number (0 if free) with linear probing.
type index []uint64

// guess returns a track of that hash, 0 if there is none.
func (x index) guess(hash uint32) uint32 {
	mask := uint32(len(x) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		if slot := x[at]; slot == 0 || uint32(slot>>32) == hash {
			return uint32(slot)
		}
	}
}

func (x index) put(hash, i uint32) {
	mask := uint32(len(x) - 1)
	at := hash & mask
	for x[at] != 0 {
		at = (at + 1) & mask
	}
	x[at] = uint64(hash)<<32 | uint64(i)
}

// remove takes track i out and moves those behind it up, so that no probe ends
// too early.
func (x index) remove(hash, i uint32) {
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
