package sink

import (
	"slices"
	"testing"
)

// A shard is given pings if they are spread over it and not all of them have a route, or
// if a route leads some to it.
func TestShardsOfPings(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spread []string
		routes map[string]int
		want   []bool
	}{
		{"no routes", []string{"a", "b"}, nil, []bool{true, true, false, false}},
		{"lines of our own", []string{"a", "b"}, map[string]int{"activity": 2, "self": 3}, []bool{true, true, false, false}},
		{"events", []string{"a", "b"}, map[string]int{"event": 2, "self": 3}, []bool{true, true, true, false}},
		{"events and lines", []string{"a"}, map[string]int{"event": 2, "activity": 2}, []bool{true, false, true, false}},
		{"all pings", []string{"a", "b"}, map[string]int{"event": 2, "location": 3}, []bool{false, false, true, true}},
		{"all pings to one", []string{"a", "b"}, map[string]int{"event": 1, "location": 1}, []bool{false, true, false, false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Spread: spread(t, tt.spread...), Routes: tt.routes}
			r := newRouter(&cfg)
			var got []bool
			for i := range tt.want {
				got = append(got, r.pings(i))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("shards that are given pings: %v, want %v", got, tt.want)
			}
		})
	}
}
