package rollup

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/influx"
)

// Run counts what comes, writes windows though no more comes, and what is open
// when it is told to stop.
func TestRun(t *testing.T) {
	log := openLog(t, queue.Config{})
	a, s := appender{log: log, at: start}, newStore(t)
	lines := make(chan []pingline.Entry, 100)
	r := newRollup(t, log, defaults, s, func(c *Config) {
		c.Emit = func(_ context.Context, list []pingline.Entry) error {
			lines <- list
			return nil
		}
	})
	r.now = func() int64 { return start + 12_000 }
	ctx, stop := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if err := a.append(ctx, at(1, ping("a", 0, 0), ping("a", 11, 0))); err != nil {
		t.Fatal(err)
	}
	s.put(<-lines) // by our own clock
	if got := s.total(8, "10s", 0); got != 1 || s.writes != 3 {
		t.Errorf("%d pings in %d lines, want 1 in 3", got, s.writes)
	}
	if err := a.append(ctx, at(2, ping("b", 1, 0))); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(lines)
	for list := range lines {
		s.put(list)
	}
	want, _ := defaults.recount(t, []commit{at(1, ping("a", 0, 0), ping("a", 11, 0)), at(2, ping("b", 1, 0))})
	s.equal(want)
}

// Another lateness or other windows make the record worthless: what was written
// by the old rules is left alone.
func TestOtherRules(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 50, seconds: 400, every: 2, late: 0.05, spread: 0.1}.commits()
	dir, half := t.TempDir(), len(commits)/2
	w := openWorld(t, dir, defaults, nil)
	for _, c := range commits[:half] {
		w.append(c)
		w.all()
	}
	old := maps.Clone(w.store.points)
	w.close()
	r := rules{defaults.resolutions, []time.Duration{10 * time.Second, 30 * time.Second}, time.Minute}
	w = openWorld(t, dir, r, nil)
	w.at = commits[half-1].at
	for _, c := range commits[half:] {
		w.append(c)
		w.all()
	}
	w.rollup.turn(testContext(t), math.MaxInt64)
	want, _ := r.recount(t, commits)
	for k := range want {
		if k.from <= commits[half].at+120_000 {
			delete(want, k)
		}
	}
	if len(want) < 50 || len(old) < 50 {
		t.Fatalf("%d and %d totals show little", len(old), len(want))
	}
	w.store.equal(want)
	if w.rollup.Stats().LeftOut == 0 {
		t.Error("nothing was left out")
	}
}

func TestForget(t *testing.T) {
	w := openWorld(t, t.TempDir(), defaults, nil)
	w.append(at(1, ping("a", 1, 0)))
	w.all()
	if _, ok := w.log.Cursor(Cursor); !ok {
		t.Fatal("there is no cursor")
	}
	Forget(w.log)
	if _, ok := w.log.Cursor(Cursor); ok || w.log.Note(Cursor) != "" {
		t.Error("the log still knows it")
	}
}

// Commits that the log has lost make totals too small; that is counted, and the
// rest goes on.
func TestDamage(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 50, seconds: 100, every: 2, spread: 0.1}.commits()
	dir := t.TempDir()
	w := openWorld(t, dir, defaults, nil)
	for _, c := range commits {
		w.append(c)
	}
	w.close()
	from, to := len(commits)/3, len(commits)/3+5
	for n := from; n < to; n++ {
		spoil(t, dir, n)
	}
	w = openWorld(t, dir, defaults, nil)
	w.at = commits[len(commits)-1].at
	w.all()
	w.rollup.turn(testContext(t), math.MaxInt64)
	lost := uint64(0)
	var rest []commit
	for i, c := range commits {
		if i < from || i >= to {
			rest = append(rest, c)
			continue
		}
		for _, e := range c.entries {
			if e.Kind == pingline.Judged && !e.Promoted {
				lost++
			}
		}
	}
	want, _ := defaults.recount(t, rest)
	w.store.equal(want)
	if got := w.rollup.Stats().Damaged; got != lost || lost == 0 {
		t.Errorf("%d pings are damaged, want %d", got, lost)
	}
}

// spoil flips a byte in the message at place n of the store's only block.
func spoil(t *testing.T, dir string, n int) {
	t.Helper()
	path := filepath.Join(dir, "jetstream", "$G", "streams", "PINGLINE", "msgs", "1.blk")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := uint32(0)
	for range n {
		at += binary.LittleEndian.Uint32(b[at:]) &^ (1 << 31)
	}
	b[at+200] ^= 0xff
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A clock that was ahead for a while does not shut out all that comes after it.
func TestClockGoesBack(t *testing.T) {
	hour := 3600.0
	commits := []commit{
		at(1, ping("a", 0, 0), ping("b", 1, 0)),
		at(12, ping("a", 11, 0)),
		at(hour, ping("a", 13, 0)),         // late by that clock
		at(15, ping("a", 14, 0)),           // its window was closed meanwhile
		at(hour/10, ping("a", hour/10, 0)), // counted again
		at(hour/10 + 200),
	}
	w := openWorld(t, t.TempDir(), defaults, nil)
	for _, c := range commits {
		w.append(c)
		w.all()
	}
	if got := w.store.total(8, "10s", 0); got != 2 {
		t.Errorf("%d pings in the first window, want 2", got)
	}
	if got := w.store.total(8, "10s", 10); got != 1 {
		t.Errorf("%d pings in the second window, want 1", got)
	}
	if got := w.store.total(8, "10s", hour/10); got != 1 {
		t.Errorf("%d pings after it went back, want 1", got)
	}
	if stats := w.rollup.Stats(); stats.Pings != 4 || stats.Late != 2 {
		t.Errorf("%+v", stats)
	}
}

func TestNew(t *testing.T) {
	log := openLog(t, queue.Config{})
	emit := func(context.Context, []pingline.Entry) error { return nil }
	for _, tt := range []struct {
		cfg  Config
		want string
	}{
		{Config{Log: log}, "no Emit"},
		{Config{Emit: emit}, "no Log"},
		{Config{Log: log, Emit: emit, Resolutions: []int{}}, "no resolution"},
		{Config{Log: log, Emit: emit, Resolutions: []int{16}}, "16 not in"},
		{Config{Log: log, Emit: emit, Resolutions: []int{4, 6}}, "6 behind 4"},
		{Config{Log: log, Emit: emit, Resolutions: []int{4, 4}}, "4 behind 4"},
		{Config{Log: log, Emit: emit, Windows: []time.Duration{}}, "no window"},
		{Config{Log: log, Emit: emit, Windows: []time.Duration{1500 * time.Millisecond}}, "1.5s"},
		{Config{Log: log, Emit: emit, Windows: []time.Duration{2 * time.Hour}}, "2h"},
		{Config{Log: log, Emit: emit, Windows: []time.Duration{10 * time.Second, 25 * time.Second}}, "25s is no multiple of 10s"},
		{Config{Log: log, Emit: emit, Lateness: time.Millisecond}, "lateness 1ms"},
		{Config{Log: log, Emit: emit, MaxBytes: 1}, "1 bytes"},
		{Config{Log: log, Emit: emit, Node: "a\nb"}, "control characters"},
		{Config{Log: log, Emit: emit, Node: strings.Repeat("a", 256)}, "255"},
		{Config{Log: log, Emit: emit, Node: `a\`}, "backslash"},
		{Config{Log: log, Emit: emit}, ""},
	} {
		_, err := New(tt.cfg)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("New: %v, want %q", err, tt.want)
		}
	}
}

func TestPointOfATotal(t *testing.T) {
	a := CellActivity{
		Cell: 0x8839220f09fffff, Res: 8, From: 1760000010000, Window: 10 * time.Second,
		Pings: 412, Riders: 37, Moving: 30, Waiting: 7, HasSpeed: true, SpeedMean: 6.1, SpeedMax: float64(float32(19.4)),
	}
	if got, want := string(influx.AppendPoint(nil, a.Point("a"))), "cell_activity,cell=8839220f09fffff,node=a,res=8,window=10s pings=412i,riders=37i,moving=30i,waiting=7i,speed_mean=6.1,speed_max=19.4 1760000010000000000\n"; got != want {
		t.Errorf("line = %s, want %s", got, want)
	}
	a.HasSpeed = false
	if got, want := string(influx.AppendPoint(nil, a.Point(""))), "cell_activity,cell=8839220f09fffff,res=8,window=10s pings=412i,riders=37i,moving=30i,waiting=7i 1760000010000000000\n"; got != want {
		t.Errorf("line = %s, want %s", got, want)
	}
	a.HasSpeed, a.Cell, a.Pings, a.Riders = true, math.MaxUint64, math.MaxInt64, math.MaxInt64
	p := a.Point(strings.Repeat("n", maxNode))
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if n := passPoints * (p.Size() + 100); n > 1<<20 {
		t.Errorf("%d points take up to %d bytes, more than a server takes at once", passPoints, n)
	}
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10s", time.Minute: "1m", time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 50 * time.Minute: "50m",
	} {
		if got := Tidy(d); got != want {
			t.Errorf("Tidy(%v) = %s, want %s", d, got, want)
		}
	}
}
