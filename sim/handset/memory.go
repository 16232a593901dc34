package handset

import "sync/atomic"

// Memory keeps a value for each phone, as far as there are no more than a million: a
// world that has worked something out for a moment need not do so again for the next.
// The zero value is an empty one, of zero values. Safe for concurrent use.
type Memory[T any] struct {
	pages [pages]atomic.Pointer[[page]Kept[T]]
}

const (
	page  = 512 // phones
	pages = 1 << 20 / page
)

// Kept is the value of a phone.
type Kept[T any] struct {
	Of    T
	taken atomic.Bool
}

// Take returns the memory of phone i, which is the caller's until Put; nil if somebody
// else has it, or nothing is kept of that phone.
func (m *Memory[T]) Take(i int) *Kept[T] {
	if uint(i) >= page*pages {
		return nil
	}
	p := m.pages[i/page].Load()
	if p == nil {
		m.pages[i/page].CompareAndSwap(nil, new([page]Kept[T]))
		p = m.pages[i/page].Load()
	}
	if k := &p[i%page]; k.taken.CompareAndSwap(false, true) {
		return k
	}
	return nil
}

// Put gives back what was taken.
func (k *Kept[T]) Put() { k.taken.Store(false) }
