package main

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pingline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// planned is what a test reads of pingline plan --json.
type planned struct {
	Verdict string
	Advice  []string
	Kept    float64
	Pings   float64 `json:"pings_per_second"`
	Points  float64 `json:"points_per_second"`
	Rolled  float64 `json:"rollup_points_per_second"`
	Located float64 `json:"location_points_per_second"`
	Series  float64
	LogRate float64 `json:"log_bytes_per_second"`
	LogDay  float64 `json:"log_bytes_per_day"`
	Queue   float64 `json:"queue_max_bytes"`
	CatchUp float64 `json:"catch_up_s"`
	Disk    float64 `json:"influx_bytes"`
	Day     float64 `json:"influx_bytes_per_day"`

	Shards          int
	ShardsForPoints int `json:"shards_for_points"`
	ShardsForSeries int `json:"shards_for_series"`
	ShardsForDisk   int `json:"shards_for_disk"`
	Ingesters       int

	Techniques []technique
	Figures    []figure `json:"assumptions"`
}

// plans runs pingline plan --json, which must do.
func plans(t *testing.T, args ...string) (got planned) {
	t.Helper()
	status, stdout, stderr := runs(t, append([]string{"plan", "--json"}, args...)...)
	if status != exitOK {
		t.Fatalf("exit status %d: %s", status, stderr)
	}
	if strings.Count(stdout, "\n") != 1 {
		t.Errorf("%q is not one line", stdout)
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// The figures that no flag, file or machine has a say in are in the golden files:
// whoever changes one sees what it does.
func TestPlanIsAsItWas(t *testing.T) {
	for name, args := range map[string]string{
		"city":      "--riders 20000 --interval 5s",
		"continent": "--riders 5000000 --interval 2s",
		"village":   "--riders 300 --interval 30s --hours 8 --retention 365d --outage 2d",
		"couriers":  "--riders 150000 --interval 1s --regions 1 --retention 2d --hours 10 --rollup off --per-request 10",
		"cluster":   "--riders 1000000 --interval 10s --per-request 6 --replicas 3 --server-points 400000 --server-series 8e6 --server-disk 4TiB --queue-max-bytes 64GiB",
		"city.json": "--riders 20000 --interval 5s --json",
	} {
		t.Run(name, func(t *testing.T) {
			status, got, stderr := runs(t, append([]string{"plan"}, strings.Fields(args)...)...)
			if status != exitOK || stderr != "" {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			for line := range strings.Lines(got) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > terminal && !strings.Contains(args, "--json") {
					t.Errorf("a line of %d: %q", n, line)
				}
			}
			golden := filepath.Join("testdata", "plan-"+name+".golden")
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
				t.Errorf("it prints\n%s\nand not what is in %s; if that is meant, go test ./cmd/pingline -run PlanIsAsItWas -update", got, golden)
			}
		})
	}
}

func TestPlanSaysWhetherOneServerIsEnough(t *testing.T) {
	city := plans(t, "--riders=20000", "--interval=5s")
	if city.Shards != 1 || !strings.HasPrefix(city.Verdict, "One InfluxDB is enough; do not shard") || city.Pings != 4000 {
		t.Errorf("for a city: %+v", city)
	}
	many := plans(t, "--riders=5000000", "--interval=2s")
	if many.Shards != max(many.ShardsForPoints, many.ShardsForSeries, many.ShardsForDisk) || many.Shards < 10 {
		t.Errorf("for a continent: %+v", many)
	}
	if want := "Use 51 InfluxDB servers, because of the series"; !strings.HasPrefix(many.Verdict, want) {
		t.Errorf("the verdict is %q, want %q", many.Verdict, want)
	}
	for _, tt := range []struct {
		why  string
		args []string
	}{
		{"points", []string{"--server-series=1e9", "--server-disk=1PiB"}},
		{"disk", []string{"--server-series=1e9", "--server-disk=512GiB"}},
	} {
		got := plans(t, append(tt.args, "--riders=5000000", "--interval=2s")...)
		if !strings.Contains(got.Verdict, "because of the "+tt.why) {
			t.Errorf("%v: %q, want %s", tt.args, got.Verdict, tt.why)
		}
	}
}

// The sums, done by hand.
func TestPlanSums(t *testing.T) {
	got := plans(t, "--riders=1000", "--interval=10s", "--kept=0.5", "--regions=3", "--new-regions=0.5", "--retention=3d",
		"--outage=1h", "--hours=12", "--rollup=off", "--replicas=3")
	for _, x := range []struct {
		name      string
		got, want float64
	}{
		{"pings", got.Pings, 100},
		{"points", got.Points, 50},
		{"series", got.Series, 1000 * 3 * 1.1 * (1 + 0.5*2)},
		{"log", got.LogRate, 150*47 + 100*200},
		{"log a day", got.LogDay, 3 * 12 * 3600 * (150*47 + 100*200)},
		{"queue", got.Queue, math.Trunc((150*47 + 100*200) * (3600 + 300) / 0.75)},
		{"InfluxDB a day", got.Day, 50 * 12 * 3600 * 44},
		{"InfluxDB", got.Disk, 50 * 12 * 3600 * 44 * 5},
	} {
		if math.Abs(x.got-x.want) > 1 {
			t.Errorf("%s: %v, want %v", x.name, x.got, x.want)
		}
	}
}

// More of a load never takes less of a machine.
func TestPlanGrowsWithTheLoad(t *testing.T) {
	base := planCmd{Riders: 1000, Interval: 5 * time.Second, PerRequest: 1, Hours: 24, NewRegions: 0.1, Rollup: "on",
		Retention: span(30 * 24 * time.Hour), Outage: span(time.Hour), Replicas: 1, QueueMax: 8 << 30,
		BatchLines: 5000, BatchWait: time.Second, ServerSeries: 1e6, ServerDisk: 2 << 40, Cores: 8}
	var before *needs
	for riders := 1; riders <= 1e9; riders *= 3 {
		c := base
		c.Riders = riders
		f := newFigures()
		f.kept.Value = 0.5
		n := c.work(f)
		d := n.servers
		if n.share(n.points, d.byPoints) > n.capacity(d.byPoints) || d.byPoints > 1 && n.share(n.points, d.byPoints-1) <= n.capacity(d.byPoints-1) {
			t.Errorf("%d riders: %d servers are not the fewest for %v points/s", riders, d.byPoints, n.points)
		}
		if n.catchUp < 0 || n.catchUp == 0 && n.points > 100 {
			t.Errorf("%d riders: an outage is caught up with in %v", riders, n.catchUp)
		}
		if before != nil && (d.shards < before.servers.shards || n.ingesters < before.ingesters || n.logFor*byteSize(n.ingesters) < before.logFor*byteSize(before.ingesters)/2 ||
			n.influxDisk < before.influxDisk || n.series < before.series) {
			t.Errorf("%d riders need less than fewer do: %+v, %+v", riders, n, before)
		}
		before = n
	}
}

func TestPlanTechniques(t *testing.T) {
	needed := func(args ...string) (list string) {
		for _, tq := range plans(t, args...).Techniques {
			if tq.Gains == "" || tq.Costs == "" || tq.Why == "" {
				t.Errorf("%v: %+v says nothing", args, tq)
			}
			if tq.Needed {
				list += tq.Name + " "
			}
		}
		return list
	}
	for args, want := range map[string]string{
		"--riders=50 --interval=30s":                        "queue ",
		"--riders=20000 --interval=5s":                      "filter batches roll-up queue ",
		"--riders=20000 --interval=5s --kept=1":             "batches roll-up queue ",
		"--riders=5000000 --interval=2s":                    "filter batches roll-up queue shards ",
		"--riders=5000000 --interval=2s --rollup=off":       "filter batches roll-up queue shards ",
		"--riders=20000 --interval=5s --server-points=3000": "filter roll-up queue shards ",
	} {
		if got := needed(strings.Fields(args)...); got != want {
			t.Errorf("%s: needed are %q, want %q", args, got, want)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	empty := inFile(t, "empty.ndjson", "")
	for _, tt := range []struct{ args, want string }{
		{"", "--riders"},
		{"--riders=0", "--riders: 0 is not in [1, 1e+09]"},
		{"--riders=many", "--riders"},
		{"--riders=1 --interval=0s", "--interval"},
		{"--riders=1 --interval=1", "--interval"},
		{"--riders=1 --interval=48h", "--interval: 2d is not in [10ms, 1d]"},
		{"--riders=1 --kept=0", "--kept"},
		{"--riders=1 --kept=1.01", "--kept: 1.01 is not in [0, 1]"},
		{"--riders=1 --kept=NaN", "--kept"},
		{"--riders=1 --kept=0.5 --track=" + empty, "--kept, --track"},
		{"--riders=1 --track=" + empty, "there is no ping in it"},
		{"--riders=1 --track=/nowhere.gpx", "--track: open /nowhere.gpx"},
		{"--riders=1 --regions=0", "--regions"},
		{"--riders=1 --new-regions=2", "--new-regions"},
		{"--riders=1 --hours=25", "--hours"},
		{"--riders=1 --area=-1", "--area"},
		{"--riders=1 --rollup=maybe", "--rollup"},
		{"--riders=1 --retention=10", "--retention"},
		{"--riders=1 --retention=5m", "--retention: 5m is not in [1h, 36500d]"},
		{"--riders=1 --retention=xd", "--retention"},
		{"--riders=1 --outage=-1h", "--outage"},
		{"--riders=1 --replicas=0", "--replicas"},
		{"--riders=1 --queue-max-bytes=1", "--queue-max-bytes"},
		{"--riders=1 --server-disk=1MiB", "--server-disk"},
		{"--riders=1 --server-points=-1", "--server-points"},
		{"--riders=1 --batch-lines=0", "--batch-lines"},
		{"--riders=1 --batch-wait=0s", "--batch-wait"},
		{"--riders=1 --max-riders=0", "--max-riders"},
		{"--riders=1 --measure --data-dir=/nowhere", "--measure"},
		{"--riders=1 more", "unexpected argument"},
	} {
		status, stdout, stderr := runs(t, append([]string{"plan"}, strings.Fields(tt.args)...)...)
		if status != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit status %d, %q and %q, want 2 and one line with %q", tt.args, status, stdout, stderr, tt.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{"30d": 720 * time.Hour, "1.5d": 36 * time.Hour, "90m": 90 * time.Minute, "0": 0, "0d": 0} {
		var s span
		if err := s.UnmarshalText([]byte(text)); err != nil || time.Duration(s) != want {
			t.Errorf("%s: %v, %v", text, s, err)
		}
		var again span
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s is written %v, which reads %v, %v", text, s, again, err)
		}
	}
	var s span
	for _, text := range []string{"", "d", "3", "NaNd", "1e300d", "-Infd"} {
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: read as %v", text, s)
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
		{"one two three", "", "one two\nthree\n", 7},
		{"one two three", "  ", "one two\n  three\n", 8},
		{"unbreakable", "", "unbreakable\n", 4},
		{"", "", "\n", 4},
	} {
		if got := wrap(tt.text, tt.width, tt.indent); got != tt.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tt.text, tt.width, got, tt.want)
		}
	}
}

// What a track is measured to keep is what pingline dedupe keeps of it.
func TestPlanMeasuresTracks(t *testing.T) {
	var pings []pingline.Ping
	for _, rider := range []string{"a", "b"} {
		pings = append(pings, corner(t, rider, noon)...)
	}
	file := inFile(t, "ride.ndjson.gz", ndjson(pings)+"no ping\n")
	_, stdout, stderr := runs(t, "plan", "--json", "--riders=1000", "--interval=1s", "--track="+file)
	var got planned
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	kept := dedupes(t, file).Total
	if want := float64(kept.Kept) / float64(kept.Pings); math.Abs(got.Kept-want) > 1e-9 || want == 0 {
		t.Errorf("kept %v of it, want %v", got.Kept, want)
	}
	if !strings.Contains(stderr, "refused: 1 lines") {
		t.Errorf("it says %q of what it refuses", stderr)
	}
	for _, f := range got.Figures {
		if f.Name == "regions" && (f.Value != 1 || !strings.Contains(f.Source, "ride.ndjson.gz")) {
			t.Errorf("regions: %+v", f)
		}
	}
	if slow := plans(t, "--riders=1000", "--interval=10s", "--track="+file); slow.Kept <= got.Kept || slow.Pings != 100 {
		t.Errorf("of a ping in 10 s it keeps %v, of one a second %v", slow.Kept, got.Kept)
	}
	if _, _, stderr := runs(t, "plan", "--riders=1000", "--interval=100ms", "--track="+file); !strings.Contains(stderr, "a ping in 1s") {
		t.Errorf("it does not say that the track is too slow: %q", stderr)
	}
}

func TestPlanMeasuresTheMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	dir := t.TempDir()
	got := plans(t, "--riders=1000", "--measure", "--data-dir="+dir)
	measured := 0
	for _, f := range got.Figures {
		if strings.HasPrefix(f.Source, "measured on this machine") {
			measured++
			if !(f.Value > 0) {
				t.Errorf("%s is %v", f.Name, f.Value)
			}
		}
	}
	if measured != 6 {
		t.Errorf("%d figures are measured, want 6", measured)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v behind, %v", left, err)
	}
}
