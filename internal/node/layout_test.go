package node

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pingline/query"
	"pingline/sink/sets"
)

// config is that of a node with these shards and routes, as their flags have them.
func config(t *testing.T, shards []string, routes ...string) *Config {
	t.Helper()
	c := unchecked(t, shards, routes...)
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	return c
}

func unchecked(t *testing.T, shards []string, routes ...string) *Config {
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
		var r sets.Route
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		c.Routes = append(c.Routes, r)
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
	for _, s := range l.all() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "a:own"}) || l.read.Routes["self"] != 2 || l.read.Routes["event"] != 1 || len(l.reading.pings()) != 2 {
		t.Errorf("shards %v, routes %v, %d to read from", names, l.read.Routes, len(l.reading.pings()))
	}
}

// A place that has two names is one shard.
func TestLayoutOfOnePlaceOfTwoNames(t *testing.T) {
	l := layoutOf(t, []string{"name=a,url=http://one:8086", "name=b,url=http://two:8086,bucket=other"}, "event=b/other", "self=b")
	if l.read.Routes["event"] != 1 || l.read.Routes["self"] != 1 || len(l.all()) != l.read.Spread.Len() {
		t.Errorf("a route to the bucket of a shard: %d shards for %d, routes %v", len(l.all()), l.read.Spread.Len(), l.read.Routes)
	}
	if l = layoutOf(t, nil, "activity=a/long", "self=a/long"); l.read.Routes["activity"] != 1 || l.read.Routes["self"] != 1 || len(l.all()) != 2 {
		t.Errorf("two routes to one bucket: %d shards, routes %v", len(l.all()), l.read.Routes)
	}
	if l = layoutOf(t, nil, "event=a/pingline"); l.read.Routes["event"] != 0 || len(l.all()) != 1 {
		t.Errorf("a route to the bucket there is: %d shards, routes %v", len(l.all()), l.read.Routes)
	}
}

// Of shards of different weights and one that only a route names, the balance is
// that of points for their weight, over those that keys are spread over.
func TestImbalanceIsPointsForWeight(t *testing.T) {
	l := layoutOf(t, []string{"name=a,url=http://one,weight=3", "name=b,url=http://two"}, "event=a/events")
	for want, points := range map[float64][]uint64{1: {3000, 1000}, 1.5: {1000, 1000}, 2: {0, 1000}, 0: {0, 0}} {
		var p query.Partitions
		p.Weigh([]query.ShardShare{{Points: points[0]}, {Points: points[1]}, {Points: 500}}, l.read.Spread, true)
		if got := p.Imbalance; got != want {
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

// Each set gets what is routed to it, in its own way, and pings are read from the first
// set of their route.
func TestLayoutOfSets(t *testing.T) {
	shards := []string{"name=a,url=http://one", "name=b,url=http://two", "name=c,url=http://three,set=archive", "name=d,url=http://four,set=archive", "name=e,url=http://five,set=sos"}
	for _, tt := range []struct {
		name    string
		routes  []string
		sets    [3]map[string]int
		readers []string
		points  int
	}{
		{"pings go to two sets", []string{"location=main,archive", "event=main,sos"},
			[3]map[string]int{{}, {"event": -1, "activity": -1, "self": -1}, {"location": -1, "activity": -1, "self": -1}}, []string{"a", "b"}, 2},
		{"nothing of the fleet goes to main", []string{"location=archive", "event=sos", "activity=archive"},
			[3]map[string]int{{"location": -1, "event": -1, "activity": -1}, {"event": -1, "self": -1}, {"location": -1, "activity": -1, "self": -1}}, []string{"c", "d", "e"}, 2},
		{"a shard of a set, and a bucket", []string{"location=d,b", "event=e/own,main"},
			[3]map[string]int{{"location": 1}, {"location": 1, "event": -1, "activity": -1, "self": -1}, {"location": -1, "event": 1, "activity": -1, "self": -1}}, []string{"c", "d", "e", "e:own"}, 2},
	} {
		l := layoutOf(t, shards, tt.routes...)
		for i, set := range l.sets {
			if !maps.Equal(set.Routes, tt.sets[i]) {
				t.Errorf("%s: routes of %s %v, want %v", tt.name, set.Name, set.Routes, tt.sets[i])
			}
		}
		var readers []string
		for _, r := range l.reading.pings() {
			readers = append(readers, r.Name)
		}
		if !slices.Equal(readers, tt.readers) || len(l.reading.points()) != tt.points {
			t.Errorf("%s: pings are read from %v, want %v; points from %d, want %d", tt.name, readers, tt.readers, len(l.reading.points()), tt.points)
		}
	}
}

func TestWrongSets(t *testing.T) {
	for _, tt := range []struct {
		shards []string
		routes []string
		want   string
	}{
		{[]string{"name=a,url=http://one", "name=b,url=http://two,set=x"}, nil, `--shard: nothing goes to the set "x": name it in --route, such as --route=location=main,x`},
		{[]string{"name=a,url=http://one,set=x"}, []string{"location=x"}, "--shard: each belongs to a set"},
		{[]string{"name=x,url=http://one", "name=b,url=http://two,set=x"}, []string{"location=x"}, `--shard: "x" names a shard and a set`},
		{[]string{"name=a,url=http://one", "name=b,url=http://two,set=x"}, []string{"location=main,y"}, `--route: no shard is named "y", and no set`},
		{[]string{"name=a,url=http://one", "name=b,url=http://two,set=x"}, []string{"location=b,x"}, "--route: location: b and x are in the same set"},
		{[]string{"name=a,url=http://one", "name=b,url=http://two,set=x"}, []string{"location=main,x/long"}, `--route: location=x/long: a bucket belongs to a shard, and "x" is a set`},
		{[]string{"name=a,url=http://one", "name=b,url=http://two,set=x"}, []string{"location=main,a"}, "--route: location: main and a are in the same set"},
	} {
		err := unchecked(t, tt.shards, tt.routes...).Check()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, %v: %v, want %q", tt.shards, tt.routes, err, tt.want)
		}
	}
}
