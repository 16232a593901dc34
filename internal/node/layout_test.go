package node

import (
	"slices"
	"testing"

	"pingline/sink"
)

// config is that of a node with these shards and routes, as their flags have them.
func config(t *testing.T, shards []string, routes ...string) *Config {
	t.Helper()
	set := DefaultConfig()
	c := &set
	for _, text := range shards {
		var s ShardConfig
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		c.Shards = append(c.Shards, s)
	}
	for _, text := range routes {
		var r Route
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		c.Routes = append(c.Routes, r)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

func layoutOf(t *testing.T, shards []string, routes ...string) *layout {
	t.Helper()
	l, err := openLayout(config(t, shards, routes...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A bucket that a route names is a shard over which nothing is spread; a route to
// a shard is that shard.
func TestLayoutOfRoutes(t *testing.T) {
	l := layoutOf(t, []string{"name=a,url=http://one:8086", "name=b,url=http://two:8086"}, "self=a/own", "event=b")
	var names []string
	for _, s := range l.shards {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "a:own"}) || l.routes["self"] != 2 || l.routes["event"] != 1 || len(l.read()) != 2 {
		t.Errorf("shards %v, routes %v, %d to read from", names, l.routes, len(l.read()))
	}
}

// A place that has two names is one shard.
func TestLayoutOfOnePlaceOfTwoNames(t *testing.T) {
	l := layoutOf(t, []string{"name=a,url=http://one:8086", "name=b,url=http://two:8086,bucket=other"}, "event=b/other", "self=b")
	if l.routes["event"] != 1 || l.routes["self"] != 1 || len(l.shards) != l.over.Len() {
		t.Errorf("a route to the bucket of a shard: %d shards for %d, routes %v", len(l.shards), l.over.Len(), l.routes)
	}
	if l = layoutOf(t, nil, "activity=a/long", "self=a/long"); l.routes["activity"] != 1 || l.routes["self"] != 1 || len(l.shards) != 2 {
		t.Errorf("two routes to one bucket: %d shards, routes %v", len(l.shards), l.routes)
	}
	if l = layoutOf(t, nil, "event=a/pingline"); l.routes["event"] != 0 || len(l.shards) != 1 {
		t.Errorf("a route to the bucket there is: %d shards, routes %v", len(l.shards), l.routes)
	}
}

// Of shards of different weights and one that only a route names, the balance is
// that of points for their weight, over those that keys are spread over.
func TestImbalanceIsPointsForWeight(t *testing.T) {
	l := layoutOf(t, []string{"name=a,url=http://one,weight=3", "name=b,url=http://two"}, "event=a/events")
	for want, points := range map[float64][]uint64{1: {3000, 1000}, 1.5: {1000, 1000}, 2: {0, 1000}, 0: {0, 0}} {
		stats := []sink.Stats{{Written: points[0]}, {Written: points[1]}}
		if got := imbalance(stats, l.over); got != want {
			t.Errorf("%d points of weight 3 and %d of weight 1: imbalance %v, want %v", points[0], points[1], got, want)
		}
	}
}

// Whatever is stored is read apart from a node: of all shards, and of the buckets that
// routes name.
func TestOpenStored(t *testing.T) {
	shards := []string{"name=a,url=http://one:8086", "name=b,url=http://two:8086"}
	for _, tt := range []struct {
		name         string
		cfg          *Config
		pings, whole int // buckets with pings, and buckets
	}{
		{"one store", config(t, nil), 1, 1},
		{"two shards", config(t, shards), 2, 2},
		{"a bucket for events", config(t, shards, "event=a/sos"), 3, 3},
		{"a bucket for the roll-up", config(t, shards, "activity=a/long"), 2, 3},
		{"a route to a shard that there is", config(t, shards, "event=b", "location=b"), 2, 2},
	} {
		s, err := OpenStored(tt.cfg)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(s.readers) != tt.pings || len(s.stores) != tt.whole {
			t.Errorf("%s: %d of %d buckets have pings, want %d of %d", tt.name, len(s.readers), len(s.stores), tt.pings, tt.whole)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
