// Package slab holds values of one type by number, in memory that never moves. A
// million of them are a few thousand objects to the garbage collector. It is for one
// goroutine, and what it takes it does not give back.
package slab

import "unsafe"

// chunk is how many values a slab takes memory for at a time.
const chunk = 1 << 10

// Slab holds values by number, from 1 on, that never move; 0 is none. The zero value
// is empty.
type Slab[T any] struct {
	chunks []*[chunk]T
	Last   uint32 // highest number in use
}

// At returns the value of a number, which Grow has returned, or that of 0, which is
// there once a value is.
func (s *Slab[T]) At(i uint32) *T { return &s.chunks[i/chunk][i%chunk] }

// Grow returns the next number; its value is zero.
func (s *Slab[T]) Grow() uint32 {
	s.Last++
	if int(s.Last/chunk) >= len(s.chunks) {
		s.chunks = append(s.chunks, new([chunk]T))
	}
	return s.Last
}

// Bytes returns what the slab takes, without what its values point to.
func (s *Slab[T]) Bytes() int64 {
	var one T
	return int64(len(s.chunks)) * chunk * int64(unsafe.Sizeof(one))
}
