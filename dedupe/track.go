package dedupe

import (
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// hold is the part of a held ping's state that is not in the log.
type hold struct {
	token uint64
	since uint32 // tick of the idle wheel
}

// line is the open end of a track: from a vertex to the held ping, if any. The
// chord to the held ping passes every ping dropped in between within that ping's bound.
type line struct {
	poly    plane.Polygon
	fix     pingline.Fix // of the held ping
	cell    uint64
	token   uint64
	since   uint32
	subKey  uint16
	holds   bool
	crowded bool        // a ping was dropped since the vertex
	frame   plane.Frame // around the vertex
}

// open starts a line at vertex v.
func (l *line) open(v plane.Spot) {
	l.poly, l.frame, l.crowded = plane.Open, plane.FrameAt(v.Lat), false
}

// passes reports whether the chord from the line's vertex to s passes all dropped
// pings.
func (l *line) passes(vertex, s plane.Spot) bool { return l.poly.Contains(l.frame.Velocity(vertex, s)) }

// narrow makes every later chord pass s.
func (l *line) narrow(vertex, s plane.Spot, eps float64) {
	l.poly.Narrow(l.frame.Velocity(vertex, s), eps, s.At-vertex.At)
}

// track is the state of a track. It has no pointers, so that the garbage collector
// does not scan it.
type track struct {
	line            // from the newest vertex on
	vertices.Recent // the last vertex is the start of the line

	marks   uint32 // newest block of marks, 0 if none
	backlog uint32 // 0 if none is open
	skipped uint32 // pings dropped since the last stored ping
	waiting uint32 // next track in the same slot of the idle wheel
	hash    uint32
	used    bool
	inWheel bool
	broken  bool  // the known vertices may have holes: the next ping starts anew
	once    bool  // a single ping of the track was logged
	pace    uint8 // pace from the ping before the held ping to the held ping
}

// lineless reports whether the track has no known line: it has no vertex yet, or the
// known vertices may have holes. It begins, or begins anew, with a ping behind its
// floor; older pings are late.
func (t *track) lineless() bool { return t.broken || t.N == 0 }

// newest returns the time of the newest ping that is not late.
func (t *track) newest() int64 {
	switch {
	case t.holds:
		return t.fix.At
	case t.N > 0:
		return t.Last().At
	}
	return math.MinInt64
}

// name holds a track's strings.
type name struct {
	key  string // rider, or rider, keySep, device
	trip string // of the newest ping
}

// keySep is a byte that no name contains.
const keySep = "\x00"

func (n *name) is(rider, device string) bool {
	if device == "" {
		return n.key == rider
	}
	r := len(rider)
	return len(n.key) == r+len(keySep)+len(device) && n.key[:r] == rider &&
		n.key[r:r+len(keySep)] == keySep && n.key[r+len(keySep):] == device
}
