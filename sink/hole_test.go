package sink

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/queue"
	"pingline/sink/influx"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// longAgo is when commits of an outage were written.
var longAgo = recently + time.Minute.Milliseconds()

// fresh returns n live entries of now, and their commit's time.
func fresh(seed uint64, n int) (at int64, list []pingline.Entry) {
	list = fleet(seed, n)
	at = time.Now().UnixMilli()
	for i := range list {
		list[i].At = at
		list[i].Rider = fmt.Sprintf("fresh-%d-%d", seed, i)
	}
	return at, list
}

func jumping(c *Config) {
	c.BatchLines, c.JumpAfter = 100, time.Minute
}

// After an outage the newest pings are written while older ones still wait, and
// those then follow.
func TestLiveGoesOnFromTheHead(t *testing.T) {
	w := testLog(t)
	freshTaken := make(chan struct{})
	var once sync.Once
	store := recording(t, func(lines []string) int {
		switch {
		case strings.Contains(lines[0], "rider=fresh-"):
			once.Do(func() { close(freshTaken) })
		case !strings.Contains(lines[0], "event="):
			<-freshTaken // what is old can only wait
		}
		return http.StatusNoContent
	})
	var all []pingline.Entry
	for i := range 30 {
		some := mixed(uint64(i), 50)
		w.commit(some...)
		all = append(all, some...)
	}
	at, some := fresh(99, 3)
	w.append(commitAt(at, some...), some...)
	all = append(all, some...)

	s := testSink(t, w, store.Bucket, jumping)
	start(t, s)
	eventually(t, "live leaves a hole", func() bool {
		for name := range w.log.Kept() {
			if strings.HasPrefix(name, "sink-a-hole-") {
				return true
			}
		}
		return false
	})
	at, some = fresh(100, 3) // the one before fell into the hole
	w.append(commitAt(at, some...), some...)
	all = append(all, some...)
	drained(t, s)
	balanced(t, s, w)
	sameLines(t, store.taken(), linesOf(all...))
	for name := range w.log.Cursors() {
		if strings.Contains(name, "hole") {
			t.Errorf("%s is kept, though it is filled", name)
		}
	}
}

// After an outage of a real InfluxDB under steady load, pings that come then are
// written while those of the outage still wait.
func TestFreshPingsOvertakeABacklog(t *testing.T) {
	server := influxd.RunTest(t)
	w := testLog(t)
	var mu sync.Mutex
	var order []string // the lanes of fresh and of old pings, as they are written
	s := testSink(t, w, testInflux(t, influx.Config{URL: server.URL()}), func(c *Config) {
		c.BatchLines, c.JumpAfter = 50, 2*time.Second
		c.ObserveFreshness = func(_, lane string, ages iter.Seq[float64]) {
			mu.Lock()
			defer mu.Unlock()
			for seconds := range ages {
				name := lane
				if seconds >= 2 {
					name += " old"
				}
				if n := len(order); n == 0 || order[n-1] != name {
					order = append(order, name)
				}
			}
		}
	})
	start(t, s)
	var all []pingline.Entry
	add := func(n int) {
		at, some := fresh(uint64(len(all)), n)
		w.append(commitAt(at, some...), some...)
		all = append(all, some...)
	}
	add(100)
	drained(t, s)
	server.Kill()
	down := time.Now()
	for range 80 {
		add(500)
	}
	eventually(t, "live is behind", func() bool { return time.Since(down) > 3*time.Second })
	mu.Lock()
	order = nil
	mu.Unlock()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a fresh ping is written", func() bool {
		add(1)
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(order, "live")
	})
	drained(t, s)
	balanced(t, s, w)
	sameLines(t, stored(t, testInflux(t, influx.Config{URL: server.URL()})), linesOf(all...))
	i := slices.Index(order, "live")
	if !slices.Contains(order[i:], "backfill old") {
		t.Errorf("nothing old was left to write behind the first fresh ping: %q", order)
	}
}

func TestWhenLiveJumps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     int64 // of the commits
		n      int   // pings in the log
		change func(*Config)
		holes  int
		want   bool
	}{
		{"far behind", longAgo, 500, jumping, 0, true},
		{"the commits are new", time.Now().UnixMilli(), 500, jumping, 0, false},
		{"all that waits is two batches", longAgo, 200, jumping, 0, false},
		{"never", longAgo, 500, func(c *Config) { jumping(c); c.JumpAfter = -1 }, 0, false},
		{"too many holes", longAgo, 500, jumping, maxHoles, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testLog(t)
			s := testSink(t, w, testInflux(t, influx.Config{URL: "http://127.0.0.1:1"}), tt.change)
			for i := range tt.n / 50 {
				some := fleet(uint64(i), 50)
				w.append(commitAt(tt.at, some...), some...)
			}
			l := s.lane(0, route.Live)
			l.home.holes.list = make([]resume.Hole, tt.holes)
			rec, err := w.log.Read(1).Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := l.batcher.Behind != nil && l.batcher.Behind(time.UnixMilli(tt.at), &rec); got != tt.want {
				t.Errorf("live jumps: %v, want %v", got, tt.want)
			}
		})
	}
}

// crash is the remains of a process that dies: the cursors on disk, and what
// the store had taken by then.
type crash struct {
	cursors []byte
	taken   []string
}

// Wherever the process dies around jumps and while holes are filled, what the
// store has, and what is written after a restart, is all there is; and every
// entry is counted once.
func TestCrashesAroundJumps(t *testing.T) {
	dir := t.TempDir()
	w := openLog(t, dir)
	old := make(chan struct{}) // what is old waits for it
	store := recording(t, nil)
	store.answer = func(lines []string) int {
		if !strings.Contains(lines[0], "rider=fresh-") && !strings.Contains(lines[0], "event=") {
			<-old
		}
		return http.StatusNoContent
	}
	s := testSink(t, w, store.Bucket, jumping)
	stop := start(t, s)
	var crashes []crash
	die := func() {
		t.Helper()
		if err := w.log.KeepCursors(); err != nil {
			t.Fatal(err)
		}
		// The lines taken cannot change meanwhile, so neither can a cursor pass it.
		store.mu.Lock()
		defer store.mu.Unlock()
		text, err := os.ReadFile(filepath.Join(dir, "cursors"))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(crashes); n == 0 || string(crashes[n-1].cursors) != string(text) {
			crashes = append(crashes, crash{text, slices.Clone(store.lines)})
		}
	}
	var all []pingline.Entry
	add := func(at int64, some []pingline.Entry) {
		w.append(commitAt(at, some...), some...)
		all = append(all, some...)
	}
	holes := func() int {
		s.shards[0].holes.mu.Lock()
		defer s.shards[0].holes.mu.Unlock()
		return len(s.shards[0].holes.list)
	}
	for i := range 3 {
		was := holes()
		for j := range 3 { // each more than a trifle
			add(longAgo, mixed(uint64(100*i+j), 400))
		}
		eventually(t, "live leaves a hole", func() bool {
			die()
			return holes() > was
		})
		add(fresh(uint64(i), 5))
		eventually(t, "the fresh are taken", func() bool {
			die()
			return s.Stats()[0].Lanes[route.Live].Behind == 0
		})
	}
	close(old)
	eventually(t, "holes are filled", func() bool {
		die()
		return holes() == 0
	})
	drained(t, s)
	die()
	balanced(t, s, w)
	stop()
	w.close()
	sameLines(t, store.taken(), linesOf(all...))

	t.Logf("%d different crashes", len(crashes))
	if len(crashes) < 8 {
		t.Errorf("only %d different crashes were seen", len(crashes))
	}
	for i, c := range crashes {
		again := t.TempDir()
		if err := os.CopyFS(again, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(again, "cursors"), c.cursors, 0o600); err != nil {
			t.Fatal(err)
		}
		w := openLog(t, again)
		w.totals = w.log.LastTotals()
		second := recording(t, nil)
		second.lines = c.taken
		s := testSink(t, w, second.Bucket, jumping)
		stop := start(t, s)
		drained(t, s)
		balanced(t, s, w)
		stop()
		w.close()
		got := slices.Compact(second.taken()) // twice is fine, never is not
		if want := linesOf(all...); !slices.Equal(got, want) {
			t.Errorf("crash %d: %d lines are stored, want %d; it left\n%s", i, len(got), len(want), c.cursors)
		}
	}
}

// openLog opens the log in dir.
func openLog(t testing.TB, dir string) *writer {
	t.Helper()
	log, err := queue.Open(context.Background(), queue.Config{Dir: dir, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{t: t, log: log}
	t.Cleanup(w.close)
	return w
}

func (w *writer) close() {
	w.t.Helper()
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
}

const (
	childDir = "PINGLINE_SINK_TEST_DIR" // makes TestSinkProcess a process of its own
	childURL = "PINGLINE_SINK_TEST_URL"
)

// TestSinkProcess is not a test: it is what TestKilledWhileJumping kills.
func TestSinkProcess(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("is run by another test")
	}
	go func() { // until who started it dies
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	w := openLog(t, dir)
	w.totals = w.log.LastTotals()
	s := testSink(t, w, testInflux(t, influx.Config{URL: os.Getenv(childURL)}), func(c *Config) {
		jumping(c)
		c.BatchLines = 20
	})
	start(t, s)
	from := w.totals[pingline.TotalStored]
	for i := from; ; i++ { // until it is killed
		w.append(commitAt(longAgo, fleet(i, 20)...), fleet(i, 20)...)
		if i%50 == 0 {
			eventually(t, "something is written", func() bool { return s.Account().Pings.Queued < 2000 })
		}
	}
}

func TestKilledWhileJumping(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	dir := t.TempDir()
	store := recording(t, nil)
	rnd := rand.New(rand.NewPCG(5, 5))
	holes := 0
	for range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSinkProcess$")
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), childDir+"="+dir, childURL+"="+store.URL())
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		goal := len(store.taken()) + 200 + rnd.IntN(3000)
		eventually(t, "the process writes", func() bool { return len(store.taken()) >= goal })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		text, err := os.ReadFile(filepath.Join(dir, "cursors"))
		if err != nil {
			t.Fatal(err)
		}
		holes += strings.Count(string(text), "sink-a-hole-")
	}
	w := openLog(t, dir)
	s := testSink(t, w, store.Bucket, jumping)
	start(t, s)
	drained(t, s)
	balanced(t, s, w)
	t.Logf("%s pings, %d holes were left by processes that died", strconv.Itoa(int(w.log.LastTotals()[0])), holes)
	if got, want := slices.Compact(store.taken()), linesInLog(t, w.log); !slices.Equal(got, want) {
		t.Errorf("%d lines are stored, want the %d in the log", len(got), len(want))
	}
	if holes == 0 {
		t.Error("no process died with a hole: this shows nothing")
	}
}

// linesInLog returns what the log says is to be stored, each line once, sorted.
func linesInLog(t testing.TB, log *queue.Log) (list []string) {
	t.Helper()
	r := log.Read(log.First())
	defer r.Close()
	for n := log.First(); n <= log.Last(); n++ {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for {
			var e pingline.Entry
			more, err := rest.Next(&e)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			list = append(list, lines(e)...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
