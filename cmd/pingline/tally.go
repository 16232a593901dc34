package main

import (
	"math"
	"math/bits"
	"time"
)

// tally is what the filter made of some pings, and how far off a reader of
// what it kept is from those it dropped.
type tally struct {
	tracks, pings, refused int
	kept, duplicates, late int
	conflicts, forgotten   uint64
	outOfBound             int
	off                    spread // of dropped pings, metres
	longestGap             int64  // ms
	busy                   time.Duration
}

func (t *tally) add(u *tally) {
	t.tracks += u.tracks
	t.pings += u.pings
	t.refused += u.refused
	t.kept += u.kept
	t.duplicates += u.duplicates
	t.late += u.late
	t.conflicts += u.conflicts
	t.forgotten += u.forgotten
	t.outOfBound += u.outOfBound
	t.off.merge(&u.off)
	t.longestGap = max(t.longestGap, u.longestGap)
	t.busy += u.busy
}

func (t *tally) keptPercent() float64 {
	return 100 * float64(t.kept) / float64(max(t.pings, 1))
}

// speed returns how many pings a second the filter judged.
func (t *tally) speed() float64 {
	return float64(t.pings) / max(t.busy, 1).Seconds()
}

// tallyJSON is a tally for programs to read.
type tallyJSON struct {
	Tracks     int        `json:"tracks"`
	Pings      int        `json:"pings"`
	Refused    int        `json:"refused"`
	Kept       int        `json:"kept"`
	KeptPct    float64    `json:"kept_pct"`
	Duplicates int        `json:"duplicates"`
	Late       int        `json:"late"`
	Conflicts  uint64     `json:"conflicts"`
	Forgotten  uint64     `json:"forgotten"`
	OutOfBound int        `json:"out_of_bound"`
	Off        spreadJSON `json:"error_m"`
	LongestGap float64    `json:"longest_gap_s"`
	Speed      float64    `json:"pings_per_s"`
}

type spreadJSON struct {
	Max float64 `json:"max"`
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

func (t *tally) json() *tallyJSON {
	return &tallyJSON{
		t.tracks, t.pings, t.refused, t.kept, t.keptPercent(), t.duplicates, t.late, t.conflicts, t.forgotten, t.outOfBound,
		spreadJSON{math.Round(t.off.max*1000) / 1000, t.off.quantile(0.5), t.off.quantile(0.95), t.off.quantile(0.99)},
		float64(t.longestGap) / 1000, math.Round(t.speed()),
	}
}

// spread is how many distances there are of each size: by the millimetre up to
// 131 m, and to one part in 65,536 beyond.
type spread struct {
	bins []uint64
	n    uint64
	max  float64 // metres
}

// farthest is half the way round the globe.
const farthest = 2.1e7

const exact = 17 // bits

func binOf(mm uint64) int {
	shift := max(bits.Len64(mm)-exact, 0)
	return shift<<(exact-1) + int(mm>>shift)
}

func (s *spread) add(metres float64) {
	metres = min(metres, farthest)
	bin := binOf(uint64(math.Round(metres * 1000)))
	if bin >= len(s.bins) {
		s.bins = append(s.bins, make([]uint64, bin+1-len(s.bins))...)
	}
	s.bins[bin]++
	s.n++
	s.max = max(s.max, metres)
}

func (s *spread) merge(o *spread) {
	if n := len(o.bins); n > len(s.bins) {
		s.bins = append(s.bins, make([]uint64, n-len(s.bins))...)
	}
	for bin, n := range o.bins {
		s.bins[bin] += n
	}
	s.n += o.n
	s.max = max(s.max, o.max)
}

// quantile returns the distance that a part q of all lie below; 0 of none.
func (s *spread) quantile(q float64) float64 {
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
