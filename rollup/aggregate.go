package rollup

import (
	"math"
	"time"

	"pingline"
)

// aggregate counts the pings of a cell in a window. Aggregates can be merged:
// merging the aggregates of a cell's children, in any order, gives the aggregate of
// the cell.
type aggregate struct {
	cell        uint64
	first, last uint64 // numbers of the commits of its first and its newest ping
	pings       uint64
	speeds      uint64  // pings whose speed is known
	speedSum    uint64  // sum of the known speeds, mm/s: integers add up to the same in any order
	speedMax    float32 // largest known speed, m/s
	riders      riders
}

// aggregateBytes is about the size of an aggregate, with its place in a map and without
// its riders.
const aggregateBytes = 160

// add counts a ping of commit number.
func (t *aggregate) add(m *memory, f *pingline.Fix, number, rider uint64) {
	if t.pings == 0 {
		t.first = number
	}
	t.last = number
	t.pings++
	if f.Has(pingline.HasSpeed) {
		t.speeds++
		t.speedSum += uint64(math.Round(float64(f.Speed) * 1000))
		t.speedMax = max(t.speedMax, f.Speed)
	}
	t.riders.add(m, rider)
}

// merge adds o to t.
func (t *aggregate) merge(m *memory, o *aggregate) {
	if t.pings == 0 {
		t.first = o.first
	}
	t.first, t.last = min(t.first, o.first), max(t.last, o.last)
	t.pings += o.pings
	t.speeds += o.speeds
	t.speedSum += o.speedSum
	t.speedMax = max(t.speedMax, o.speedMax)
	t.riders.union(m, &o.riders)
}

// reset empties t.
func (t *aggregate) reset(m *memory) {
	t.riders.reset(m)
	*t = aggregate{}
}

// A rider moves at movingSpeed, m/s, or more. If a ping has no speed, it is
// computed from the ping before it, if that is not older than lookBack.
const (
	movingSpeed = 0.5
	lookBack    = int64(time.Minute / time.Millisecond)
)

// tracks remember the last ping without a speed of each track, and a ping
// without a speed is compared with that alone: so a phone that knows its speed
// costs nothing here.
//
// They are a function of the commits of the last lookBack: earlier commits do not
// matter.
type tracks struct {
	now, before map[uint64]lastFix // by hash of the track
	turned      int64              // clock when now was begun
	most        int                // most spots in now, and in before
	forgotten   uint64             // pings that found no room
}

// lastFix is a fix, and the clock when it came.
type lastFix struct {
	at, seen int64
	lat, lon int32
}

// spotBytes is about the size of a spot, with its place in a map.
const spotBytes = 64

func newTracks(bytes int64) tracks {
	return tracks{now: map[uint64]lastFix{}, before: map[uint64]lastFix{}, most: int(bytes / 2 / spotBytes)}
}

// moved reports whether f, which comes at clock, has moved from the last fix
// of the same track, and replaces that by f.
func (t *tracks) moved(track uint64, f *pingline.Fix, clock int64) bool {
	if clock-t.turned > lookBack {
		t.turn(clock)
	}
	was, known := t.now[track]
	room := known || len(t.now) < t.most
	if !known {
		was, known = t.before[track]
	}
	if room {
		t.now[track] = lastFix{at: f.At, seen: clock, lat: f.LatE7, lon: f.LonE7}
	} else {
		delete(t.before, track)
		t.forgotten++
	}
	if !known || clock-was.seen > lookBack {
		return false
	}
	took := max(f.At-was.at, was.at-f.At)
	return took > 0 && took <= lookBack && metres(&was, f) >= movingSpeed*float64(took)/1000
}

// turn forgets the spots of the minute before the last.
func (t *tracks) turn(clock int64) {
	t.now, t.before, t.turned = map[uint64]lastFix{}, t.now, clock
}

// forget forgets all tracks.
func (t *tracks) forget(clock int64) {
	t.turn(clock)
	t.turn(clock)
}

// bytes returns how many bytes t takes.
func (t *tracks) bytes() int64 { return int64(len(t.now)+len(t.before)) * spotBytes }

// metres returns the distance of two fixes that are near each other.
func metres(a *lastFix, f *pingline.Fix) float64 {
	const (
		unit = 6371008.8 * math.Pi / 180 / pingline.E7 // metres in 1e-7 degree
		turn = 360 * pingline.E7
	)
	north := float64(f.LatE7) - float64(a.lat)
	east := math.Remainder(float64(f.LonE7)-float64(a.lon), turn)
	middle := (float64(f.LatE7) + float64(a.lat)) / 2 * (math.Pi / 180 / pingline.E7)
	return unit * math.Hypot(north, east*math.Cos(middle))
}
