package sink

import (
	"pingline/sink/influx"
	"slices"
	"strings"
	"testing"
	"time"
)

// A shard that pings went to and that is taken away is remembered, over restarts
// and with others, until it is back or its points have moved.
func TestShardsThatAreGone(t *testing.T) {
	w := testLog(t)
	began := time.Now().UnixMilli()
	open := func(moved []string, routes map[string]int, names ...string) *Sink {
		return testSink(t, w, nil, func(c *Config) {
			c.Shards, c.Moved, c.Routes = nil, moved, routes
			for _, name := range append(slices.Clone(names), "c:long") {
				c.Shards = append(c.Shards, ShardStore{Name: name, Store: testInflux(t, influx.Config{URL: "http://127.0.0.1:1"})})
			}
			c.Spread = spread(t, names...)
		})
	}
	for _, tt := range []struct {
		name    string
		open    func() *Sink
		Removed []string
	}{
		{"the first", func() *Sink { return open(nil, map[string]int{"activity": 2}, "a", "b") }, nil},
		{"b goes", func() *Sink { return open(nil, map[string]int{"activity": 1}, "a") }, []string{"b"}},
		{"a restart", func() *Sink { return open(nil, map[string]int{"activity": 1}, "a") }, []string{"b"}},
		{"a goes as well", func() *Sink { return open(nil, map[string]int{"event": 1}, "d") }, []string{"a", "b"}},
		{"a is back, and events go elsewhere", func() *Sink { return open(nil, nil, "a", "d") }, []string{"b", "c:long"}},
		{"what b held has moved", func() *Sink { return open([]string{"b"}, nil, "a", "d") }, []string{"c:long"}},
		{"and is not asked for again", func() *Sink { return open(nil, nil, "a", "d") }, []string{"c:long"}},
	} {
		s := tt.open()
		var names []string
		for name := range s.gone {
			names = append(names, name)
		}
		slices.Sort(names)
		if !slices.Equal(names, tt.Removed) {
			t.Fatalf("%s: %q are gone, want %q", tt.name, names, tt.Removed)
		}
		if at := s.GoneBefore(); (at >= began) != (tt.Removed != nil) {
			t.Errorf("%s: gone before %d", tt.name, at)
		}
		for _, name := range tt.Removed {
			if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "shard "+name+" was taken away at") {
				t.Errorf("%s: notes %q", tt.name, notes)
			}
		}
	}
}
