package sim

import (
	"fmt"
	"time"
)

// Storm is the end of an outage: every phone comes back with a backlog. The zero
// value means that there was none.
type Storm struct {
	Backlog time.Duration // pings that each phone kept, of this long before it comes back
	Within  time.Duration // in which all phones come back, one after the other; 0: at once
}

const mostBacklog = 24 * time.Hour

func (s Storm) check() error {
	if s.Backlog < 0 || s.Backlog > mostBacklog || s.Within < 0 || s.Within > mostBacklog {
		return fmt.Errorf("storm of %v within %v: not in [0s, %v]", s.Backlog, s.Within, mostBacklog)
	}
	return nil
}

// storm is the schedule of phones that come back, each with a backlog, and send a
// ping each interval from then on. Times are ns since 1970.
type storm struct {
	fleet                     // its phones; not its schedule
	interval, backlog, within int64

	back int     // phones that came back
	at   int64   // when the last of them did
	left int64   // pings of its backlog still to come
	live []alive // in order of time
	head int     // the first of live that was not taken
}

// alive is a phone that is back, and when it sends next.
type alive struct {
	slot int
	at   int64
}

func newStorm(f *fleet, s Storm, interval time.Duration) *storm {
	return &storm{fleet: *f, interval: int64(interval), backlog: int64(s.Backlog), within: int64(s.Within)}
}

// Next returns the next ping: of a backlog, or of a phone that is back.
func (s *storm) Next() (Due, bool) {
	if s.left > 0 {
		return s.old(), true
	}
	comes, back := s.returns()
	if s.head < len(s.live) && (!back || s.live[s.head].at < comes) {
		return s.turn()
	}
	if !back || s.end != 0 && comes >= s.end {
		return Due{}, false
	}
	s.back++
	s.at, s.left = comes, s.backlog/s.interval
	s.live = append(s.live, alive{s.back - 1, comes + s.interval})
	if s.left == 0 {
		return s.Next()
	}
	return s.old(), true
}

// returns returns when the next phone comes back, false if all have.
func (s *storm) returns() (at int64, ok bool) {
	n := len(s.last)
	return s.start + int64(float64(s.within)*(float64(s.back)+float64(s.conn)/float64(s.conns))/float64(n)), s.back < n
}

// old returns the next ping of the backlog of the phone that came back last.
func (s *storm) old() Due {
	s.left--
	return Due{Phone: s.index(s.back - 1), At: (s.at - s.left*s.interval) / 1e6, Send: s.at}
}

// turn returns the ping of the phone that is to send next. All have one interval, so
// that its next ping is after those of the others.
func (s *storm) turn() (Due, bool) {
	a := s.live[s.head]
	if s.end != 0 && a.at >= s.end {
		return Due{}, false
	}
	s.head++
	if s.head == len(s.live) || s.head >= 1024 && s.head >= len(s.live)/2 {
		s.live, s.head = append(s.live[:0], s.live[s.head:]...), 0
	}
	s.live = append(s.live, alive{a.slot, a.at + s.interval})
	return Due{Phone: s.index(a.slot), At: a.at / 1e6, Send: a.at}, true
}
