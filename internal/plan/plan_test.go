package plan

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pingline/internal/unit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fleet is a Config of so many riders, all else as change has it.
func fleet(riders int, interval time.Duration, change func(*Config)) Config {
	c := DefaultConfig()
	c.Riders, c.Interval = riders, interval
	if change != nil {
		change(&c)
	}
	return c
}

// planned returns the plan of a fleet with the figures as they are.
func planned(c Config) *Plan { return New(c, NewFigures(c.Interval)) }

// The figures that no flag, file or machine has a say in are in the golden files:
// whoever changes one sees the effect.
func TestPlanIsAsItWas(t *testing.T) {
	for name, c := range map[string]Config{
		"city":      fleet(20_000, 5*time.Second, nil),
		"continent": fleet(5_000_000, 2*time.Second, nil),
		"village": fleet(300, 30*time.Second, func(c *Config) {
			c.Hours, c.Retention, c.Outage = 8, unit.Span(365*unit.Day), unit.Span(2*unit.Day)
		}),
		"couriers": fleet(150_000, time.Second, func(c *Config) {
			c.Retention, c.Hours, c.Rollup, c.PerRequest = unit.Span(2*unit.Day), 10, false, 10
		}),
		"cluster": fleet(1_000_000, 10*time.Second, func(c *Config) {
			c.PerRequest, c.Replicas, c.ServerPoints, c.ServerSeries, c.ServerDisk, c.QueueMax = 6, 3, 400_000, 8e6, 4<<40, 64<<30
		}),
		"millions": fleet(10_000_000, 15*time.Second, func(c *Config) {
			c.PerRequest, c.Cores, c.Memory = 6, 16, 64<<30
		}),
		"city.json": fleet(20_000, 5*time.Second, nil),
		"city.why":  fleet(20_000, 5*time.Second, nil),
	} {
		t.Run(name, func(t *testing.T) {
			f := NewFigures(c.Interval)
			if name == "couriers" {
				f.Regions = Figure{"regions", 1, f.Regions.Unit, "--regions"}
			}
			var b bytes.Buffer
			write := (*Plan).Print
			switch filepath.Ext(name) {
			case ".json":
				write = (*Plan).PrintJSON
			case ".why":
				write = (*Plan).PrintFigures
			}
			if err := write(New(c, f), &b); err != nil {
				t.Fatal(err)
			}
			got := b.String()
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > terminal && name != "city.json" {
					t.Errorf("a line of %d: %q", n, line)
				}
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("it prints\n%s\nand not what is in %s; if that is meant, go test ./internal/plan -run PlanIsAsItWas -update", got, golden)
			}
		})
	}
}

func TestPlanSaysWhetherOneServerIsEnough(t *testing.T) {
	city := planned(fleet(20_000, 5*time.Second, nil))
	if city.Shards != 1 || !strings.HasPrefix(city.Verdict, "One InfluxDB is enough; do not shard") || city.Pings != 4000 {
		t.Errorf("for a city: %+v", city)
	}
	many := planned(fleet(5_000_000, 2*time.Second, nil))
	if many.Shards != max(many.ByPoints, many.BySeries, many.ByDisk) || many.Shards < 10 {
		t.Errorf("for a continent: %+v", many)
	}
	if want := "Use 51 InfluxDB servers, because of the series"; !strings.HasPrefix(many.Verdict, want) {
		t.Errorf("the verdict is %q, want %q", many.Verdict, want)
	}
	for why, disk := range map[string]unit.Bytes{"points": 1 << 50, "disk": 512 << 30} {
		got := planned(fleet(5_000_000, 2*time.Second, func(c *Config) { c.ServerSeries, c.ServerDisk = 1e9, disk }))
		if !strings.Contains(got.Verdict, "because of the "+why) {
			t.Errorf("with a disk of %v: %q, want %s", disk, got.Verdict, why)
		}
	}
}

// The sums, done by hand.
func TestPlanSums(t *testing.T) {
	f := NewFigures(10 * time.Second)
	f.Kept.Value, f.Regions.Value = 0.5, 3
	got := New(fleet(1000, 10*time.Second, func(c *Config) {
		c.NewRegions, c.Retention, c.Outage, c.Hours, c.Rollup, c.Replicas = 0.5, unit.Span(3*unit.Day), unit.Span(time.Hour), 12, false, 3
	}), f)
	for _, x := range []struct {
		name      string
		got, want float64
	}{
		{"pings", got.Pings, 100},
		{"points", got.Points, 50},
		{"series", got.Series, 1000 * 3 * 1.1 * (1 + 0.5*2)},
		{"log", got.LogRate, 150*47 + 100*200},
		{"log a day", got.LogDay, 3 * 12 * 3600 * (150*47 + 100*200)},
		{"queue", float64(got.LogFor), math.Trunc((150*47 + 100*200) * (3600 + 300) / 0.75)},
		{"InfluxDB a day", got.InfluxDay, 50 * 12 * 3600 * 44},
		{"InfluxDB", got.InfluxDisk, 50 * 12 * 3600 * 44 * 5},
	} {
		if math.Abs(x.got-x.want) > 1 {
			t.Errorf("%s: %v, want %v", x.name, x.got, x.want)
		}
	}
}

// More of a load never takes less of a machine.
func TestPlanGrowsWithTheLoad(t *testing.T) {
	var before *Plan
	for riders := 1; riders <= 1e9; riders *= 3 {
		f := NewFigures(5 * time.Second)
		f.Kept.Value = 0.5
		p := New(fleet(riders, 5*time.Second, nil), f)
		if p.share(p.Points, p.ByPoints) > p.capacity(p.ByPoints) || p.ByPoints > 1 && p.share(p.Points, p.ByPoints-1) <= p.capacity(p.ByPoints-1) {
			t.Errorf("%d riders: %d servers are not the fewest for %v points/s", riders, p.ByPoints, p.Points)
		}
		if p.CatchUp < 0 || p.CatchUp == 0 && p.Points > 100 {
			t.Errorf("%d riders: an outage is caught up with in %v s", riders, p.CatchUp)
		}
		if before != nil && (p.Shards < before.Shards || p.logs() < before.logs() || p.LogFor*unit.Bytes(p.Clusters) < before.LogFor*unit.Bytes(before.Clusters)/2 ||
			p.InfluxDisk < before.InfluxDisk || p.Series < before.Series) {
			t.Errorf("%d riders need less than fewer do: %+v, %+v", riders, p, before)
		}
		before = p
	}
}

func TestPlanTechniques(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      Config
		kept   float64 // 0: as measured
		needed string
	}{
		{"a village", fleet(50, 30*time.Second, nil), 0, "queue "},
		{"a city", fleet(20_000, 5*time.Second, nil), 0, "filter batches roll-up queue "},
		{"a city that keeps all", fleet(20_000, 5*time.Second, nil), 1, "batches roll-up queue "},
		{"a continent", fleet(5_000_000, 2*time.Second, nil), 0, "filter batches roll-up queue shards "},
		{"a continent without roll-up", fleet(5_000_000, 2*time.Second, func(c *Config) { c.Rollup = false }), 0, "filter batches roll-up queue shards "},
		{"a city on a slow server", fleet(20_000, 5*time.Second, func(c *Config) { c.ServerPoints = 3000 }), 0, "filter roll-up queue shards "},
	} {
		f, got := NewFigures(tt.c.Interval), ""
		if tt.kept > 0 {
			f.Kept.Value = tt.kept
		}
		for _, tq := range New(tt.c, f).Techniques {
			if tq.Gains == "" || tq.Costs == "" || tq.Why == "" {
				t.Errorf("%s: %+v says nothing", tt.name, tq)
			}
			if tq.Needed {
				got += tq.Name + " "
			}
		}
		if got != tt.needed {
			t.Errorf("%s: needed are %q, want %q", tt.name, got, tt.needed)
		}
	}
}

func TestBetween(t *testing.T) {
	points := []at{{1, 0.1}, {4, 0.4}, {16, 1.6}}
	for x, want := range map[float64]float64{0.5: 0.1, 1: 0.1, 2: 0.2, 4: 0.4, 8: 0.8, 16: 1.6, 99: 1.6} {
		if got := between(points, x); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %v it is %v, want %v", x, got, want)
		}
	}
}

func TestOccupied(t *testing.T) {
	for _, tt := range []struct{ cells, riders, lo, hi float64 }{
		{1000, 1, 0.99, 1}, {1000, 1e6, 999.9, 1000}, {1, 5, 0.99, 1}, {1000, 1000, 632, 633},
	} {
		if got := occupied(tt.cells, tt.riders); got < tt.lo || got > tt.hi {
			t.Errorf("%v riders in %v cells are in %v, want %v to %v", tt.riders, tt.cells, got, tt.lo, tt.hi)
		}
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text, indent, want string
		width              int
	}{
		{"one two three", "", "one two\nthree", 7},
		{"one two three", "  ", "one two\n  three", 8},
		{"unbreakable", "", "unbreakable", 4},
		{"", "", "", 4},
	} {
		if got := wrap(tt.text, tt.width, tt.indent); got != tt.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

// Of the figures a disk can tell, one is measured, and no trace of it is left.
func TestCommitRate(t *testing.T) {
	dir := t.TempDir()
	f, err := CommitRate(t.Context(), dir)
	if err != nil || !(f.Value > 0) || f.Name != NewFigures(0).Commits.Name || !strings.Contains(f.Source, dir) {
		t.Errorf("%+v, %v", f, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
	if _, err := CommitRate(t.Context(), filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a disk that is not there has a rate")
	}
}
