// Package route tells which lane of which shard an entry of the log belongs to.
//
// The lane is a function of the entry, its commit and the layout alone: the names
// of the shards, their weights and the routes. So every entry that is to be stored
// has exactly one lane, whoever asks and whenever; a shard that is down does not
// change it. A layout can be written as a text, which tells whether cursors were
// saved under the same layout.
//
// It writes nothing and waits for nothing. A Layout and a Router do not change, and
// a Cache is safe for concurrent use.
package route

import (
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/sink/limit"
)

// LaneKind tells the lanes of a shard apart, by the classes of their writes.
type LaneKind uint8

// Kinds of lanes; LaneKinds is how many there are.
const (
	Critical  = LaneKind(limit.Critical)
	Live      = LaneKind(limit.Live)
	Backfill  = LaneKind(limit.Backfill)
	Own       = LaneKind(limit.Own)
	LaneKinds = LaneKind(limit.Classes)
)

var laneNames = [LaneKinds]string{"critical", "live", "backfill", "own"}

func (k LaneKind) String() string { return laneNames[k] }

// CountsDamage reports whether this lane of the first shard counts the entries
// that cannot be read: entries before the start, and damaged entries. Such a lane
// never skips to the head.
func (k LaneKind) CountsDamage() bool { return k == Critical || k == Own }

// Total returns which of the log's totals counts the entries of lanes of kind
// k.
func (k LaneKind) Total() int {
	if k == Own {
		return pingline.TotalLines
	}
	return pingline.TotalStored
}

// lateAfter is how long before its commit a ping must lie to be backfill, for
// example pings that a phone sends together after it was offline.
const lateAfter = 5 * time.Minute

// Routes that a layout can set.
const (
	Location = iota
	Event
	activity
	self
)

var routeNames = [...]string{"location", "event", "activity", "self"}

// Router returns the lane that an entry belongs to. It does not change.
type Router struct {
	layout Layout
	routes [len(routeNames)]int // index of a shard; -1 if there is none
	beside *Router              // of Layout.Beside
}

// NewRouter returns the router of a layout that Check accepted.
func NewRouter(l Layout) Router {
	r := Router{layout: l, routes: [...]int{-1, -1, 0, 0}}
	for i, name := range routeNames {
		if to, ok := l.Routes[name]; ok {
			r.routes[i] = to
		}
	}
	if l.Beside != nil {
		other := NewRouter(*l.Beside)
		r.beside = &other
	}
	return r
}

// LaneID is a lane of a shard.
type LaneID uint32

// NoLane stands for an entry that is in the log only, and for no store.
const NoLane = LaneID(1<<32 - 1)

// LaneIDOf returns the lane of a kind of the shard at an index.
func LaneIDOf(shard int, kind LaneKind) LaneID { return LaneID(shard)*LaneID(LaneKinds) + LaneID(kind) }

func (id LaneID) split() (shard int, kind LaneKind) {
	return int(id / LaneID(LaneKinds)), LaneKind(id % LaneID(LaneKinds))
}

// LaneOf returns the lane of e, as part of a commit written at, ms. Every entry that
// is Stored, every point and every ready line has a lane, and no other entry has.
func (r *Router) LaneOf(e *pingline.Entry, at int64) LaneID {
	lane := r.laneOf(e, at)
	if r.beside == nil || lane == NoLane {
		return lane
	}
	shard, kind := lane.split()
	if other, _ := r.beside.laneOf(e, at).split(); r.layout.Shards[shard] == r.beside.layout.Shards[other] {
		shard = r.layout.Nobody
	}
	return LaneIDOf(shard, kind)
}

func (r *Router) laneOf(e *pingline.Entry, at int64) LaneID {
	switch {
	case e.Kind != pingline.Judged:
		return r.laneOfOther(e)
	case !e.Stored():
		return NoLane
	case e.Event != "":
		return LaneIDOf(r.shardOf(e, Event), Critical)
	case at-e.At > lateAfter.Milliseconds():
		return LaneIDOf(r.shardOf(e, Location), Backfill)
	}
	return LaneIDOf(r.shardOf(e, Location), Live)
}

// Pings reports whether a shard gets pings, with or without an event.
func (r *Router) Pings(shard int) bool {
	for _, route := range [...]int{Location, Event} {
		if from, to := r.Goals(route); from <= shard && shard < to {
			return true
		}
	}
	return false
}

// Over returns over how many shards pings are spread.
func (r *Router) Over() int { return r.layout.Over() }

// Goals returns the shards that pings of a route go to: the index of the
// first, and the index after the last.
func (r *Router) Goals(route int) (from, to int) {
	if to := r.routes[route]; to >= 0 {
		return to, to + 1
	}
	return 0, r.Over()
}

func (r *Router) shardOf(e *pingline.Entry, route int) int {
	switch {
	case r.routes[route] >= 0:
		return r.routes[route]
	case r.layout.Spread == nil:
		return 0
	}
	return r.layout.Spread.Of(e)
}

// laneOfOther returns the lane of a replayed ping or a point: that of the shard it
// names, if the layout still has it. A ping that names a shard which no set has any more goes
// wherever a new ping would go, in each set, as the shard may have been renamed.
func (r *Router) laneOfOther(e *pingline.Entry) LaneID {
	shard, kind := 0, Own
	switch e.Kind {
	case pingline.Replayed, pingline.ReplayedNano:
		kind = Backfill
		switch {
		case r.layout.Set != "" && (e.To == "" || e.IsLine() || slices.Contains(r.layout.Others, e.To)):
			shard = r.layout.Nobody
		case !e.IsLine():
			shard = r.shardOf(e, routeOf(e))
		}
	case pingline.Activity:
		shard = r.routes[activity]
	case pingline.Self:
		shard = r.routes[self]
	}
	if e.To != "" {
		if i := slices.Index(r.layout.Shards, e.To); i >= 0 {
			shard = i
		} else if slices.Contains(r.layout.Others, e.To) {
			shard = r.layout.Nobody
		}
	}
	return LaneIDOf(shard, kind)
}

// Named reports whether a route names a shard for entries like e. Then no
// other shard stands in: its readers would not look there.
func (r *Router) Named(e *pingline.Entry) bool {
	_, named := r.layout.Routes[routeNames[routeOf(e)]]
	return named
}

// routeOf returns the route of e. It is read from the text of a replayed line.
func routeOf(e *pingline.Entry) int {
	switch e.Kind {
	case pingline.Activity:
		return activity
	case pingline.Self:
		return self
	}
	if e.IsLine() {
		return routeOfLine(e.Line)
	}
	if e.Event != "" {
		return Event
	}
	return Location
}

func routeOfLine(line string) int {
	measurement := line[:max(strings.IndexAny(line, ", "), 0)]
	switch {
	case measurement == "cell_activity":
		return activity
	case measurement == "pingline", strings.HasPrefix(measurement, "pingline_"):
		return self
	case strings.Contains(line, ` event="`) || strings.Contains(line, `,event="`):
		return Event
	}
	return Location
}
