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

// lateAfter is how long before its commit a ping must lie to be backfill: what a
// phone sends in one go after it was offline.
const lateAfter = 5 * time.Minute

// What Config.Routes can send somewhere.
const (
	routeLocation = iota
	routeEvent
	routeActivity
	routeSelf
)

var routeNames = [...]string{"location", "event", "activity", "self"}

// router tells which lane an entry belongs to.
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

// owner says whose an entry is: a lane of a shard.
type owner uint32

const nobody = owner(1<<32 - 1) // it is in the log only

func ownerOf(shard int, kind laneKind) owner { return owner(shard)*owner(laneKinds) + owner(kind) }

// owner returns whose e is, as part of a commit written at, ms. Every entry that
// is Stored, every point and every ready line has one, and no other: each is written by one lane.
func (r *router) owner(e *pingline.Entry, at int64) owner {
	switch {
	case e.Kind != pingline.Judged:
		return r.ownerOfOther(e)
	case !e.Stored():
		return nobody
	case e.Event != "":
		return ownerOf(r.shardOf(e, routeEvent), critical)
	case at-e.At > lateAfter.Milliseconds():
		return ownerOf(r.shardOf(e, routeLocation), backfill)
	}
	return ownerOf(r.shardOf(e, routeLocation), live)
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

// ownerOfOther sends a replayed ping or a point where it says, if that shard is
// still there.
func (r *router) ownerOfOther(e *pingline.Entry) owner {
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
	return ownerOf(shard, kind)
}

// routed reports whether a route says where what e is goes. Then no other shard
// stands in, not even one that is as good as any: its readers would not look there.
func (r *router) routed(e *pingline.Entry) bool {
	_, named := r.cfg.Routes[routeNames[routeOf(e)]]
	return named
}

// routeOf returns which route is that of e. A replayed line is told by its text.
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
