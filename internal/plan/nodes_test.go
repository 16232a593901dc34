package plan

import (
	"math"
	"strings"
	"testing"
	"time"

	"pingline/internal/unit"
)

// One node is enough until it is half busy or its memory half full, and the demand that
// is named is that which more of it takes away.
func TestPlanSaysHowManyNodes(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		want int
		by   string
	}{
		{"a city", fleet(20_000, 5*time.Second, nil), 1, "cores"},
		{"a million", fleet(1_000_000, 10*time.Second, func(c *Config) { c.PerRequest = 6 }), 1, "cores"},
		{"a ping a request", fleet(2_000_000, 10*time.Second, func(c *Config) { c.Cores = 4 }), 4, "cores"},
		{"the same on eight times as many cores", fleet(2_000_000, 10*time.Second, func(c *Config) { c.Cores = 32 }), 1, "cores"},
		{"one thread is full", fleet(5_000_000, time.Second, func(c *Config) { c.PerRequest, c.Cores = 100, 256 }), 8, "writer"},
		{"many who send rarely", fleet(10_000_000, time.Hour, func(c *Config) { c.Cores, c.Memory = 64, 4<<30 }), 2, "memory"},
		{"the same with more memory", fleet(10_000_000, time.Hour, func(c *Config) { c.Cores, c.Memory = 64, 16<<30 }), 1, "cores"},
	} {
		p := planned(tt.c)
		if p.Ingesters != tt.want || p.reason() != tt.by && tt.want > 1 {
			t.Errorf("%s: %d nodes because of the %s (%+v), want %d because of the %s", tt.name, p.Ingesters, p.reason(), p.Nodes, tt.want, tt.by)
		}
		if said := strings.Contains(strings.Join(p.Advice, " "), "One pingline serve is not enough, because of the "+tt.by+": "); said != (tt.want > 1) {
			t.Errorf("%s: it advises %q", tt.name, p.Advice)
		}
		if one := strings.Contains(strings.Join(p.Parts(), "\n"), "\nnodes     one is enough: "); one != (tt.want == 1) {
			t.Errorf("%s: it prints %q", tt.name, p.Parts())
		}
	}
}

// The sums of a node, done by hand.
func TestPlanNodeSums(t *testing.T) {
	f := NewFigures(10 * time.Second)
	f.Kept.Value = 0.5
	got := New(fleet(1_000_000, 100*time.Second, func(c *Config) { c.Cores = 4 }), f)
	for _, x := range []struct {
		name      string
		got, want float64
	}{
		{"busy", got.Busy, got.IngestCores / 4},
		{"memory", got.NodeMemory, 320e6 + 350e6},
		{"a start", got.Restart, 0.6 + 15_000*300*900e-9},
		{"a takeover", got.Takeover, 15 + 0.6 + 15_000*300*900e-9},
	} {
		if math.Abs(x.got-x.want) > 1e-6*x.want {
			t.Errorf("%s: %v, want %v", x.name, x.got, x.want)
		}
	}
	// However many pings come, no more entries are read again than the state is saved after.
	often := New(fleet(1_000_000, 100*time.Millisecond, func(c *Config) { c.Cores = 1000 }), f)
	if want := 0.6/float64(often.Ingesters) + 9; math.Abs(often.Restart-want) > 1e-6 {
		t.Errorf("a start takes %v s, want %v", often.Restart, want)
	}
	if !strings.Contains(strings.Join(got.Advice, " "), "within "+unit.Span(20*time.Second).String()+" of a machine's death") {
		t.Errorf("it advises %q", got.Advice)
	}
}

// A part is a node's, and their number is a power of two; one more node waits. What 64 parts
// cannot do several clusters do.
func TestPlanParts(t *testing.T) {
	for need, want := range map[int]Nodes{
		1: {Ingesters: 1, Clusters: 1}, 2: {Ingesters: 2, Spares: 1, Clusters: 1}, 3: {Ingesters: 4, Spares: 1, Clusters: 1}, 4: {Ingesters: 4, Spares: 1, Clusters: 1},
		64: {Ingesters: 64, Spares: 1, Clusters: 1}, 65: {Ingesters: 64, Spares: 1, Clusters: 2}, 150: {Ingesters: 64, Spares: 1, Clusters: 3},
	} {
		var got Nodes
		got.share(need)
		if got != want {
			t.Errorf("work for %d: %+v, want %+v", need, got, want)
		}
	}
	p := planned(fleet(5_000_000, 2*time.Second, nil))
	if text := strings.Join(p.Advice, " "); !strings.Contains(text, "Use --parts=32 on 33 nodes, of which one waits") || strings.Contains(text, "clusters") {
		t.Errorf("for a continent it advises %q", text)
	}
	if text := strings.Join(p.Parts(), "\n"); !strings.Contains(text, "\nnodes     33, 32 parts and a spare; each ") {
		t.Errorf("for a continent it prints %q", text)
	}
	world := planned(fleet(50_000_000, 2*time.Second, nil))
	if text := strings.Join(world.Advice, " "); !strings.Contains(text, "A cluster has 64 parts at most: use 4 clusters") || world.Busy > 0.5 {
		t.Errorf("for the world it advises %q, each node %v busy", text, world.Busy)
	}
}
