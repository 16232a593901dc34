package study

import (
	"fmt"
	"io"
	"time"

	"pingline/internal/unit"
)

// pingTime is when a ping was, and the line of the file that it is on.
type pingTime struct {
	at   int64 // ms
	line int   // from 1
}

// strays are the pings of a recording whose times lie far from those of the pings
// before and behind them in their track, which are near each other: a clock that was
// wrong once. The zero value knows none.
type strays struct {
	tracks []lastPings // by track
	found  int
	first  []stray // as many as are shown
}

// lastPings are the last pings of a track, at most three, the newest last.
type lastPings struct {
	pings [3]pingTime
	n     int // of the whole track
}

// stray is a ping whose time lies far from the rest.
type stray struct {
	pingTime
	off  int64 // ms ahead of its nearest neighbour in time; below 0: behind it
	last bool  // of its track
}

const (
	dayMs = 24 * 3600 * 1000
	// At the ends of a track a single ping may stand for a day of its own.
	farAtEnd = 365 * dayMs
)

// add takes in the next ping of a track.
func (s *strays) add(track int, p pingTime) {
	for track >= len(s.tracks) {
		s.tracks = append(s.tracks, lastPings{})
	}
	t := &s.tracks[track]
	t.pings[0], t.pings[1], t.pings[2] = t.pings[1], t.pings[2], p
	t.n++
	if t.n < 3 {
		return
	}
	if t.n == 3 {
		far := int64(farAtEnd)
		if t.pings[0].at > p.at { // whatever comes behind it is in its past
			far = dayMs
		}
		s.note(stray{pingTime: t.pings[0]}, t.pings[1], p, far)
	}
	s.note(stray{pingTime: t.pings[1]}, t.pings[0], p, dayMs)
}

// note adds p if it lies further than far from a and from b, which are near each other.
func (s *strays) note(p stray, a, b pingTime, far int64) {
	p.off = p.at - a.at
	if b := p.at - b.at; abs(b) < abs(p.off) {
		p.off = b
	}
	if abs(p.off) <= far || abs(a.at-b.at) > abs(p.off)/10 {
		return
	}
	if s.found++; len(s.first) < mostExamples {
		s.first = append(s.first, p)
	}
}

func abs(ms int64) int64 { return max(ms, -ms) }

// tell writes a line for each of the first strays of a recording that has been read.
func (s *strays) tell(w io.Writer, file string) {
	for i := range s.tracks {
		if t := &s.tracks[i]; t.n >= 3 {
			s.note(stray{pingTime: t.pings[2], last: true}, t.pings[0], t.pings[1], farAtEnd)
		}
	}
	for _, p := range s.first {
		where, then := "ahead of", "; those that follow may be late"
		if p.off < 0 {
			where = "behind"
		}
		if p.off < 0 || p.last {
			then = ""
		}
		fmt.Fprintf(w, "note: %s line %d: its time, %s UTC, is %s %s those around it%s\n", file, p.line,
			time.UnixMilli(p.at).UTC().Format("2006-01-02 15:04"), unit.Plural((abs(p.off)+dayMs/2)/dayMs, "day", "days"), where, then)
	}
	if more := s.found - len(s.first); more > 0 {
		fmt.Fprintf(w, "note: %d more times far from those around them in %s\n", more, file)
	}
}
