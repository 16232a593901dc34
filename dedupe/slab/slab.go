// Package slab holds values of a type by number, in memory that never moves. A million
// values are a few thousand objects to the garbage collector. A slab is for a single
// goroutine, and does not give memory back.
package slab

import "unsafe"

// A slab takes memory for chunk values at a time, and from largeSlab bytes on for that many
// bytes, in huge pages where the system has them: a slab is read in any order, and most of
// such a read is the search for its page.
const (
	chunk     = 1 << 10
	largeSlab = 4 << 20
)

// Slab holds values by number, from 1 on; number 0 stands for no value. The values
// never move. The zero value is empty.
type Slab[T any] struct {
	chunks []*[chunk]T
	Last   uint32 // highest number in use
}

// At returns the value of a number that Grow has returned, or, once Grow was called,
// the value of number 0.
func (s *Slab[T]) At(i uint32) *T { return &s.chunks[i/chunk][i%chunk] }

// Grow returns the next number; its value is zero.
func (s *Slab[T]) Grow() uint32 {
	s.Last++
	if int(s.Last/chunk) >= len(s.chunks) {
		s.enlarge()
	}
	return s.Last
}

func (s *Slab[T]) enlarge() {
	n := 1
	if s.Bytes() >= largeSlab {
		n = max(1, largeSlab/(chunk*int(unsafe.Sizeof(*new(T)))))
	}
	more := make([][chunk]T, n)
	wantHuge(more)
	for i := range more {
		s.chunks = append(s.chunks, &more[i])
	}
}

// Bytes returns the memory of the slab in bytes, without memory that values point to.
func (s *Slab[T]) Bytes() int64 {
	var one T
	return int64(len(s.chunks)) * chunk * int64(unsafe.Sizeof(one))
}
