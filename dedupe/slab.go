package dedupe

// chunk is how many values a slab takes memory for at a time.
const chunk = 1 << 10

// slab holds values by number, from 1 on, that never move; 0 is none. A million
// tracks are a few thousand objects to the garbage collector.
type slab[T any] struct {
	chunks []*[chunk]T
	last   uint32 // highest number in use
}

func (s *slab[T]) at(i uint32) *T { return &s.chunks[i/chunk][i%chunk] }

// grow returns the next number; its value is zero.
func (s *slab[T]) grow() uint32 {
	s.last++
	if int(s.last/chunk) >= len(s.chunks) {
		s.chunks = append(s.chunks, new([chunk]T))
	}
	return s.last
}
