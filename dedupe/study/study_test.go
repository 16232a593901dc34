package study

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/track"
)

// corner is a drive of 10 m/s: a minute east, then a minute north.
func corner(t *testing.T, rider string, start int64) (pings []pingline.Ping) {
	t.Helper()
	const metre = 1 / 111195.08 // degrees
	for i := range 121 {
		p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: start + int64(i)*1000}}
		east, north := min(i, 60)*10, max(i-60, 0)*10
		if err := p.SetPosition(0.5+float64(north)*metre, 10+float64(east)*metre); err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
	}
	return pings
}

const noon = 1760011200000 // 2025-10-09 12:00 UTC

func TestClock(t *testing.T) {
	c := recordingClock{idle: 60_000}
	var a, b, late trackClock
	for i, step := range []struct {
		track *trackClock
		at    int64 // s
		want  time.Duration
	}{
		{&a, 1000, 0},
		{&a, 1001, time.Second},
		{&b, 1002, time.Second}, // a new track starts now
		{&a, 1005, 5 * time.Second},
		{&a, 1003, 5 * time.Second},  // never back
		{&b, 1007, 6 * time.Second},  // five seconds after its first
		{&late, 10, 6 * time.Second}, // however old it is
		{&late, 12, 8 * time.Second},
		{&late, 1e12, 128 * time.Second}, // a broken clock of one
		{&a, 1010, 128 * time.Second},    // does not
		{&a, 1071, 129 * time.Second},    // hold up the others for long
	} {
		if got := c.tick(step.track, step.at*1000); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
	if a.pings != 6 || b.pings != 2 || late.pings != 3 {
		t.Errorf("%d, %d and %d pings", a.pings, b.pings, late.pings)
	}
}

// The comparison finds what is off: a kept ping taken away afterwards is missed.
func TestDedupeFindsWhatIsOff(t *testing.T) {
	tr, err := newRun(dedupe.Config{MaxRiders: 10}, dedupe.Bound{MaxError: 10})
	if err != nil {
		t.Fatal(err)
	}
	var tracks trackIndex
	var pings []arrival
	for _, p := range corner(t, "r-1", noon) {
		pings = append(pings, arrival{Ping: p, track: tracks.number(&p)})
	}
	tr.judge(pings, 0, &tracks)
	tr.flush(&tracks)
	if tr.kept != 3 {
		t.Fatalf("kept %d", tr.kept)
	}
	measure := func() int {
		tr.outOfBound = 0
		for i := range pings {
			tr.measure(&pings[i], i)
		}
		return tr.outOfBound
	}
	if off := measure(); off != 0 {
		t.Errorf("%d are off", off)
	}
	tr.paths[0] = new(track.Path)
	tr.paths[0].Add(&pings[0].Fix)
	tr.paths[0].Add(&pings[len(pings)-1].Fix)
	if off := measure(); off < 100 {
		t.Errorf("without the corner %d are off", off)
	}
	report := Summary{cfg: Config{}}
	report.add("a", []*run{tr})
	var b strings.Builder
	if err := report.Print(&b); err != nil || report.OutOfBound() != tr.outOfBound || strings.Contains(b.String(), "None is beyond its bound.") {
		t.Errorf("%d are reported, %v: %s", report.OutOfBound(), err, &b)
	}
}

func TestDistancesAreTheSortedOnes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var both, part distances
	var all []float64
	for i := range 20_000 {
		v := rng.ExpFloat64() * math.Pow(10, float64(i%6)-1)
		all = append(all, v)
		if i%2 == 0 {
			both.add(v)
		} else {
			part.add(v)
		}
	}
	both.merge(&part)
	slices.Sort(all)
	for _, q := range []float64{0, 0.1, 0.5, 0.95, 0.99, 1} {
		want := all[min(len(all)-1, int(q*float64(len(all))))]
		if got := both.quantile(q); math.Abs(got-want) > 0.0005+want/32768 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if both.max != all[len(all)-1] {
		t.Errorf("the largest is %v, want %v", both.max, all[len(all)-1])
	}
	if none := new(distances); none.quantile(0.5) != 0 || none.max != 0 {
		t.Errorf("of none: %v, %v", none.quantile(0.5), none.max)
	}
	far := new(distances)
	far.add(math.Inf(1))
	if math.Abs(far.quantile(0.5)-farthest) > farthest/32768 || far.max != farthest {
		t.Errorf("infinitely far: %v, %v", far.quantile(0.5), far.max)
	}
}

// A terminal on which nobody types keeps nobody: Open returns when it is told to.
func TestOpenOfSilentInputIsStopped(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	silent, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func(in *os.File) { os.Stdin = in }(os.Stdin)
	defer func() { _ = typed.Close() }() // ends the read that is left alone
	os.Stdin = silent
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "-"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}
