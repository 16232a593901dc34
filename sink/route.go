package sink

import (
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/sink/limit"
)

// laneKind tells the lanes of a shard apart, by the classes of their writes.
type laneKind uint8

const (
	critical  = laneKind(limit.Critical)
	live      = laneKind(limit.Live)
	backfill  = laneKind(limit.Backfill)
	own       = laneKind(limit.Own)
	laneKinds = laneKind(limit.Classes)
)

var laneNames = [laneKinds]string{"critical", "live", "backfill", "own"}

func (k laneKind) String() string { return laneNames[k] }

// lateAfter is how long before its commit a ping must lie to be backfill, as those
// that a phone sends in one go after it was offline.
const lateAfter = 5 * time.Minute

// Routes that Config.Routes can set.
const (
	routeLocation = iota
	routeEvent
	routeActivity
	routeSelf
)

var routeNames = [...]string{"location", "event", "activity", "self"}

// router returns the lane that an entry belongs to.
type router struct {
	cfg    *Config
	routes [len(routeNames)]int // index of a shard; -1 if there is none
	names  []string             // of the shards
}

func newRouter(cfg *Config) router {
	r := router{cfg: cfg, routes: [...]int{-1, -1, 0, 0}}
	for i, name := range routeNames {
		if to, ok := cfg.Routes[name]; ok {
			r.routes[i] = to
		}
	}
	for _, s := range cfg.Shards {
		r.names = append(r.names, s.Name)
	}
	return r
}

// laneID is a lane of a shard.
type laneID uint32

const noLane = laneID(1<<32 - 1) // of an entry that is in the log only

func laneIDOf(shard int, kind laneKind) laneID { return laneID(shard)*laneID(laneKinds) + laneID(kind) }

// laneOf returns the lane of e, as part of a commit written at, ms. Every entry that
// is Stored, every point and every ready line has one, and no other entry has: each
// is written by one lane.
func (r *router) laneOf(e *pingline.Entry, at int64) laneID {
	switch {
	case e.Kind != pingline.Judged:
		return r.laneOfOther(e)
	case !e.Stored():
		return noLane
	case e.Event != "":
		return laneIDOf(r.shardOf(e, routeEvent), critical)
	case at-e.At > lateAfter.Milliseconds():
		return laneIDOf(r.shardOf(e, routeLocation), backfill)
	}
	return laneIDOf(r.shardOf(e, routeLocation), live)
}

// pings reports whether a shard is given pings, be it of one kind only.
func (r *router) pings(shard int) bool {
	for _, route := range [...]int{routeLocation, routeEvent} {
		if to := r.routes[route]; to == shard || to < 0 && shard < r.cfg.spread() {
			return true
		}
	}
	return false
}

func (r *router) shardOf(e *pingline.Entry, route int) int {
	switch {
	case r.routes[route] >= 0:
		return r.routes[route]
	case r.cfg.Spread == nil:
		return 0
	}
	return r.cfg.Spread.Of(e)
}

// laneOfOther returns the lane of a replayed ping or a point: that of the shard it
// names, if it is still there.
func (r *router) laneOfOther(e *pingline.Entry) laneID {
	shard, kind := 0, own
	switch e.Kind {
	case pingline.Replayed, pingline.ReplayedNano:
		kind = backfill
		if !e.IsLine() {
			shard = r.shardOf(e, routeOf(e))
		}
	case pingline.Activity:
		shard = r.routes[routeActivity]
	case pingline.Self:
		shard = r.routes[routeSelf]
	}
	if e.To != "" {
		if i := slices.Index(r.names, e.To); i >= 0 {
			shard = i
		}
	}
	return laneIDOf(shard, kind)
}

// named reports whether Config.Routes names a shard for entries like e. Then no
// other shard stands in: its readers would not look there.
func (r *router) named(e *pingline.Entry) bool {
	_, named := r.cfg.Routes[routeNames[routeOf(e)]]
	return named
}

// routeOf returns the route of e. That of a replayed line is told by its text.
func routeOf(e *pingline.Entry) int {
	switch e.Kind {
	case pingline.Activity:
		return routeActivity
	case pingline.Self:
		return routeSelf
	}
	if e.IsLine() {
		return routeOfLine(e.Line)
	}
	if e.Event != "" {
		return routeEvent
	}
	return routeLocation
}

func routeOfLine(line string) int {
	measurement := line[:max(strings.IndexAny(line, ", "), 0)]
	switch {
	case measurement == "cell_activity":
		return routeActivity
	case measurement == "pingline", strings.HasPrefix(measurement, "pingline_"):
		return routeSelf
	case strings.Contains(line, ` event="`) || strings.Contains(line, `,event="`):
		return routeEvent
	}
	return routeLocation
}
