package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/plan"
)

// planned is what a test reads of pingline plan --json.
type planned struct {
	Kept    float64
	Pings   float64       `json:"pings_per_second"`
	Figures []plan.Figure `json:"assumptions"`
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

// The flags say what the package plans, and nothing more: text and JSON are those
// of its golden files.
func TestPlanTakesItsFlags(t *testing.T) {
	for name, args := range map[string]string{
		"city":      "--riders 20000 --interval 5s",
		"continent": "--riders 5000000 --interval 2s",
		"village":   "--riders 300 --interval 30s --hours 8 --retention 365d --outage 2d",
		"couriers":  "--riders 150000 --interval 1s --regions 1 --retention 2d --hours 10 --rollup off --per-request 10",
		"cluster":   "--riders 1000000 --interval 10s --per-request 6 --replicas 3 --server-points 400000 --server-series 8e6 --server-disk 4TiB --queue-max-bytes 64GiB",
		"millions":  "--riders 10000000 --interval 15s --per-request 6 --cores 16 --memory 64GiB",
		"city.json": "--riders 20000 --interval 5s --json",
	} {
		status, got, stderr := runs(t, append([]string{"plan"}, strings.Fields(args)...)...)
		if status != exitOK || stderr != "" {
			t.Fatalf("exit status %d: %s", status, stderr)
		}
		want, err := os.ReadFile(filepath.Join("../../internal/plan/testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s prints\n%s\nwant\n%s", args, got, want)
		}
	}
}

// The figures that a plan rests on are printed if one asks why.
func TestPlanTellsWhy(t *testing.T) {
	_, plain, _ := runs(t, "plan", "--riders=1000")
	status, why, stderr := runs(t, "plan", "--riders=1000", "--why")
	figures, ok := strings.CutPrefix(why, plain)
	if status != exitOK || stderr != "" || !ok || !strings.HasPrefix(figures, "\nRests on\nkept ") || !strings.Contains(figures, "BenchmarkJudge") {
		t.Errorf("exit status %d: behind the plan is %q; %s", status, figures, stderr)
	}
	if strings.Contains(plain, "BenchmarkJudge") {
		t.Errorf("without --why too:\n%s", plain)
	}
}

// Ctrl-C while the disk is timed is a sentence, and leaves nothing behind.
func TestPlanStoppedWhileMeasuring(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var stdout, stderr bytes.Buffer
	status := run(ctx, []string{"plan", "--riders=1000", "--measure", "--data-dir=" + dir}, &stdout, &stderr)
	const want = "pingline: stopped while timing the disk of --data-dir; nothing is planned\n"
	if status != exitFailed || stdout.Len() > 0 || stderr.String() != want {
		t.Errorf("exit status %d, printed %q, said %q, want %q", status, &stdout, &stderr, want)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The defaults are those of the package.
func TestPlanDefaults(t *testing.T) {
	var cmd planCmd
	parser, err := newParser(&cmd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"--riders=7"}); err != nil {
		t.Fatal(err)
	}
	want := plan.DefaultConfig()
	want.Riders = 7
	if got := cmd.config(); !reflect.DeepEqual(got, want) {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
}

func TestPlanRefuses(t *testing.T) {
	empty := inFile(t, "empty.ndjson", "")
	for _, tt := range []struct{ args, want string }{
		{"", "--riders"},
		{"--riders=0", "--riders: 0 is not in [1, 1000000000]"},
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
		{"--riders=1 --memory=512MiB", "--memory"},
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

// The part of a track that plan measures as kept is the part that pingline
// dedupe keeps.
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
	if !strings.Contains(stderr, "refused: 1 line that is no ping\n") {
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

func TestPlanMeasuresTheDisk(t *testing.T) {
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
	if measured != 1 {
		t.Errorf("%d figures are measured, want 1", measured)
	}
}
