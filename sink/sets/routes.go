package sets

import (
	"fmt"
	"slices"
	"strings"

	"pingline"
)

// Route sends a kind of entry to sets, shards or buckets, instead of spreading it over the
// main set.
type Route struct {
	Kind string
	To   []RouteTarget // at most one of each set
}

// RouteTarget is where a route leads: the shards of a set, or a shard, or a bucket of its
// server.
type RouteTarget struct{ Name, Bucket string }

// Kinds are the kinds of entries, of which PingKinds are pings.
var (
	Kinds     = []string{"location", "event", "activity", "self"}
	PingKinds = Kinds[:2]
)

// Latest is the kind of a route that adds places to those of pings: stores that keep only the
// newest position of each rider.
const Latest = "latest"

// UnmarshalText reads KIND=NAME[/BUCKET],…, where a name is that of a shard or a set.
func (r *Route) UnmarshalText(text []byte) error {
	kind, to, ok := strings.Cut(string(text), "=")
	if !ok || to == "" || kind != Latest && !slices.Contains(Kinds, kind) {
		return fmt.Errorf("%q is not of the form KIND=SHARD[/BUCKET] or KIND=SET,…, KIND one of %s, %s", text, strings.Join(Kinds, ", "), Latest)
	}
	*r = Route{Kind: kind}
	for part := range strings.SplitSeq(to, ",") {
		name, bucket, _ := strings.Cut(part, "/")
		if name == "" {
			return fmt.Errorf("%q names nothing between two commas", text)
		}
		r.To = append(r.To, RouteTarget{name, bucket})
	}
	return nil
}

// BucketName names a bucket of a shard as a shard of its own: using only letters that names
// may have.
func (r *RouteTarget) BucketName() string {
	bucket := strings.Map(func(c rune) rune {
		if pingline.CheckName("bucket", string(c)) != nil {
			return '_'
		}
		return c
	}, r.Bucket)
	name := r.Name + ":" + bucket
	return name[:min(len(name), pingline.MaxName)]
}

// Targets returns where a kind goes, by default to the main set.
func Targets(routes []Route, kind string) []RouteTarget {
	for _, r := range Complete(routes) {
		if r.Kind == kind {
			return r.To
		}
	}
	return []RouteTarget{{Name: Main}}
}

// Complete returns routes of Kinds only: the places of Latest are among those of pings.
func Complete(routes []Route) []Route {
	i := slices.IndexFunc(routes, func(r Route) bool { return r.Kind == Latest })
	if i < 0 {
		return routes
	}
	var list []Route
	for _, kind := range PingKinds {
		r := Route{kind, []RouteTarget{{Name: Main}}}
		if k := slices.IndexFunc(routes, func(r Route) bool { return r.Kind == kind }); k >= 0 {
			r.To = slices.Clone(routes[k].To)
		}
		for _, to := range routes[i].To {
			if !slices.Contains(r.To, to) {
				r.To = append(r.To, to)
			}
		}
		list = append(list, r)
	}
	for _, r := range routes {
		if r.Kind != Latest && !slices.Contains(PingKinds, r.Kind) {
			list = append(list, r)
		}
	}
	return list
}

// CheckLatest returns an error if a route asks more of a store of newest positions than it
// keeps, or leads to another as if it were one. latest says of a name whether it is one.
func CheckLatest(routes []Route, latest func(name string) bool) error {
	for _, r := range routes {
		for _, to := range r.To {
			switch is := latest(to.Name); {
			case r.Kind == Latest && !is:
				return fmt.Errorf("%s=%s: it keeps every ping: only a Redis is for the newest, or name it in location and event", r.Kind, to.Name)
			case is && r.Kind != Latest && !slices.Contains(PingKinds, r.Kind):
				return fmt.Errorf("%s=%s: a Redis keeps newest positions only", r.Kind, to.Name)
			}
		}
	}
	return nil
}
