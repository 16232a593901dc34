package dedupe

import (
	"hash/maphash"
	"math"
	"strings"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// hold is what the filter notes of a held ping besides what is logged.
type hold struct {
	token uint64
	since uint32 // tick of the idle wheel
}

// line is the open end of a track: from a vertex to the held ping, if any. The
// chord to it passes every ping dropped between within that ping's bound.
type line struct {
	poly    plane.Polygon
	fix     pingline.Fix // held
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

// passes reports whether the chord from the line's vertex to s passes all that
// was dropped.
func (l *line) passes(vertex, s plane.Spot) bool { return l.poly.Contains(l.frame.Velocity(vertex, s)) }

// narrow makes every later chord pass s.
func (l *line) narrow(vertex, s plane.Spot, eps float64) {
	l.poly.Narrow(l.frame.Velocity(vertex, s), eps, s.At-vertex.At)
}

// track is the state of one rider's device. It has no pointers.
type track struct {
	line            // from the newest vertex on
	vertices.Recent // the last starts the line

	marks   uint32 // newest block of marks, 0 if none
	backlog uint32 // 0 if none is open
	skipped uint32 // pings dropped since the last stored one
	waiting uint32 // next track in the same slot of the idle wheel
	hash    uint32
	used    bool
	inWheel bool
	broken  bool  // what is known may have holes: the next ping starts anew
	once    bool  // only one ping of it was logged
	pace    uint8 // from the ping before to the held one
}

// lineless reports whether no line is known of the track: it has no vertex yet, or
// what is known may have holes. It begins, or begins anew, with a ping behind its
// floor, and what is older is late.
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

// keySep is in no name.
const keySep = "\x00"

func (n *name) split() (rider, device string) {
	rider, device, _ = strings.Cut(n.key, keySep)
	return rider, device
}

func (n *name) is(rider, device string) bool {
	if device == "" {
		return n.key == rider
	}
	r := len(rider)
	return len(n.key) == r+len(keySep)+len(device) && n.key[:r] == rider &&
		n.key[r:r+len(keySep)] == keySep && n.key[r+len(keySep):] == device
}

// hash is of this process only: strangers choose names.
func (f *Filter) hash(rider, device string) uint32 {
	h := maphash.String(f.seed, rider)
	if device != "" {
		h = h*0x9e3779b97f4a7c15 ^ maphash.String(f.seed, device)
	}
	return uint32(h >> 32)
}

// lookup returns the track of that name, 0 if it is not known.
func (f *Filter) lookup(hash uint32, rider, device string) uint32 {
	if len(f.index) == 0 {
		return 0
	}
	mask := uint32(len(f.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		switch slot := f.index[at]; {
		case slot == 0:
			return 0
		case uint32(slot>>32) == hash && f.names.At(uint32(slot)).is(rider, device):
			return uint32(slot)
		}
	}
}

// create returns a new track without vertices; once tells that its first ping is
// to come.
func (f *Filter) create(hash uint32, rider, device string, once bool) uint32 {
	if 4*(f.riders+1) > 3*len(f.index) {
		bigger := make(index, max(64, 2*len(f.index)))
		for _, slot := range f.index {
			if slot != 0 {
				bigger.put(uint32(slot>>32), uint32(slot))
			}
		}
		f.index = bigger
	}
	var i uint32
	if n := len(f.free); n > 0 {
		i = f.free[n-1]
		f.free = f.free[:n-1]
	} else {
		i = f.tracks.Grow()
		f.names.Grow()
		f.order.Grow()
	}
	t := f.tracks.At(i)
	*t = track{hash: hash, used: true, once: once, inWheel: t.inWheel, waiting: t.waiting}
	key := strings.Clone(rider)
	if device != "" {
		key = rider + keySep + device
	}
	*f.names.At(i) = name{key: key}
	f.text += textBytes(key)
	f.addDevice(i, device)
	t.Base = f.forgotOf(rider, device)
	f.index.put(hash, i)
	f.order.At(i).stamp = 0
	if f.loading == nil {
		f.order.push(f.listOf(i), i)
	}
	f.riders++
	return i
}

// forget drops a track with all that is known of it. What it holds must have
// been promoted.
func (f *Filter) forget(i uint32) {
	t := f.tracks.At(i)
	if t.N > 0 {
		f.forgetTo(t.Last().At)
	}
	f.drop(i)
}

// drop is forget for a track that is known elsewhere.
func (f *Filter) drop(i uint32) {
	t := f.tracks.At(i)
	if t.holds {
		f.holding--
	}
	if t.backlog != 0 {
		f.closeBacklog(t)
	}
	f.blocks.Clear(&t.Recent)
	f.blocks.ClearMarks(&t.marks)
	f.index.remove(t.hash, i)
	if f.loading == nil {
		f.order.unlink(f.listOf(i), i)
	}
	f.dropDevice(i)
	n := f.names.At(i)
	f.text -= textBytes(n.key) + textBytes(n.trip)
	*n = name{}
	// The idle wheel finds out by itself that the track is gone.
	*t = track{inWheel: t.inWheel, waiting: t.waiting}
	f.free = append(f.free, i)
	f.riders--
}
