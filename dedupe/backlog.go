package dedupe

import (
	"math"
	"math/bits"

	"pingline/dedupe/plane"
)

// backlog is an open line in an old segment, with a ping held. Both ends of the
// segment are vertices; the segment before a track's first vertex begins at longAgo.
//
// The line is anchored at the start, or at the end if the pings come newest first.
// All dropped pings lie between the anchor and the held ping. The second ping shows
// which way the backlog runs. Until then nothing was dropped, the line is not crowded,
// and its polygon and frame have no meaning.
type backlog struct {
	line
	start, end plane.Spot // equal if unknown
	toEnd      bool       // the anchor is the end
	eps        float64    // bound of the held ping, metres
	pace       uint8      // pace from the ping before the held ping to the held ping
	trip       string
}

// longAgo is before all spots.
var longAgo = plane.Spot{At: math.MinInt64}

// covers reports whether ts lies in the backlog's segment.
func (s *backlog) covers(ts int64) bool { return s.start.At < ts && ts < s.end.At }

// ends returns the anchor and the other end.
func (s *backlog) ends() (anchor, far plane.Spot) {
	if s.toEnd {
		return s.end, s.start
	}
	return s.start, s.end
}

// unmoved returns the time, ms, before which readers see the same whether the held
// ping is stored or not.
func (s *backlog) unmoved() int64 {
	if s.start == longAgo {
		return s.fix.At
	}
	return s.start.At + 1
}

// run sets the anchor, and makes every later chord pass the held ping.
func (s *backlog) run(toEnd bool) {
	s.toEnd = toEnd
	anchor, _ := s.ends()
	s.open(anchor)
	s.narrow(anchor, plane.SpotOf(&s.fix), s.eps)
	s.crowded = true
}

// pass reports whether p lies between the anchor and the held ping, and if so makes
// every later chord pass p, which was dropped.
func (s *backlog) pass(p plane.Spot, eps float64) bool {
	if !s.covers(p.At) || p.At != s.fix.At && (p.At > s.fix.At) != s.toEnd {
		return false
	}
	if !s.crowded {
		s.run(s.toEnd)
	}
	anchor, _ := s.ends()
	s.narrow(anchor, p, eps)
	return true
}

// gapGrowth is the growth of the pace, in bits, beyond which a gap is long: at least
// eight times the gap before, in powers of two. Where a track was sampled every second
// and then not for minutes, pings are probably missing. Until they have come no line is
// drawn over the gap: once a ping is dropped there, no later ping can become a vertex.
const gapGrowth = 3

// pace is the number of bits of the time between two pings, in ms.
func pace(a, b int64) uint8 { return uint8(bits.Len64(uint64(max(a-b, b-a)))) }

// leastGap is the shortest gap, in ms, over which a track's newest line is not
// drawn.
const leastGap = 60_000

// misses reports whether pings seem to be missing before or behind the held ping of
// the open line, with p the next newer ping: the rider moved by more than eps metres
// from a ping to the next, and the gap is long.
func (t *track) misses(p plane.Spot, eps float64) bool {
	held, after := plane.SpotOf(&t.fix), pace(p.At, t.fix.At)
	if after > t.pace+gapGrowth && p.At-held.At >= leastGap {
		return t.frame.Moved(held, p, eps)
	}
	return !t.crowded && t.pace > after+gapGrowth && held.At-t.Last().At >= leastGap && t.frame.Moved(t.Last(), held, eps)
}
