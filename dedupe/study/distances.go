package study

import (
	"math"
	"math/bits"
)

// distances is a histogram of distances: by the millimetre up to 131 m, and to a part
// in 65,536 beyond.
type distances struct {
	bins []uint64
	n    uint64
	max  float64 // metres
}

// farthest is half the way round the globe, in metres.
const farthest = 2.1e7

const exact = 17 // bits of a distance in mm that are kept

func binOf(mm uint64) int {
	shift := max(bits.Len64(mm)-exact, 0)
	return shift<<(exact-1) + int(mm>>shift)
}

func (s *distances) add(metres float64) {
	metres = min(metres, farthest)
	bin := binOf(uint64(math.Round(metres * 1000)))
	if bin >= len(s.bins) {
		s.bins = append(s.bins, make([]uint64, bin+1-len(s.bins))...)
	}
	s.bins[bin]++
	s.n++
	s.max = max(s.max, metres)
}

func (s *distances) merge(o *distances) {
	if n := len(o.bins); n > len(s.bins) {
		s.bins = append(s.bins, make([]uint64, n-len(s.bins))...)
	}
	for bin, n := range o.bins {
		s.bins[bin] += n
	}
	s.n += o.n
	s.max = max(s.max, o.max)
}

// quantile returns the distance below which the part q of all distances lie; 0 if there
// are none.
func (s *distances) quantile(q float64) float64 {
	rank := uint64(q * float64(s.n))
	for bin, n := range s.bins {
		if rank < n {
			shift := max(bin>>(exact-1)-1, 0)
			return min(float64(uint64(bin-shift<<(exact-1))<<shift)/1000, s.max)
		}
		rank -= n
	}
	return s.max
}
