package rollup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
)

// joined merges runs of n commits into one.
func joined(list []commit, n int) (out []commit) {
	for i, c := range list {
		if i%n == 0 {
			out = append(out, commit{})
		}
		last := &out[len(out)-1]
		last.at, last.entries = c.at, append(last.entries, c.entries...)
	}
	return out
}

// snapshot is the disk, and what the store holds, at a moment.
type snapshot struct {
	dir     string
	points  map[key]point
	commits int // that are in the log
}

// At whatever commit, and at whatever line that has just become durable, the
// process dies: the next one goes on from the record that was kept, some time
// ago, never writes a total over one that counts more, and ends with the totals
// of all pings.
func TestCrashAtEveryCommit(t *testing.T) {
	r := rules{[]int{8, 6}, []time.Duration{10 * time.Second, time.Minute}, 30 * time.Second}
	commits := joined(city{rng: rand.New(rand.NewPCG(3, 4)), riders: 40, seconds: 180, every: 4, late: 0.05, spread: 0.1}.commits(), 7)
	rng := rand.New(rand.NewPCG(5, 6))
	dir, copies := t.TempDir(), t.TempDir()
	var taken []snapshot
	done := 0
	w := openWorld(t, dir, r, nil)
	w.wrote = func() {
		to := filepath.Join(copies, fmt.Sprint(len(taken)))
		copyDir(t, dir, to)
		taken = append(taken, snapshot{to, maps.Clone(w.store.points), done})
	}
	for _, c := range commits {
		done++
		w.append(c)
		w.all()
		if rng.IntN(2) == 0 {
			if err := w.log.KeepCursors(); err != nil {
				t.Fatal(err)
			}
		}
		w.wrote()
	}
	want, _ := r.recount(t, commits)
	again := uint64(0)
	for i, at := range taken {
		if testing.Short() && i%10 > 0 {
			continue
		}
		w := openWorld(t, at.dir, r, at.points)
		from := w.rollup.next.Next
		w.at = commits[at.commits-1].at
		w.all()
		for _, c := range commits[at.commits:] {
			w.append(c)
			w.all()
		}
		w.rollup.turn(testContext(t), math.MaxInt64)
		w.store.equal(want)
		if stats := w.rollup.Stats(); stats.Early+stats.Damaged+stats.LeftOut > 0 {
			t.Errorf("%+v", stats)
		}
		if t.Failed() {
			t.Fatalf("crash %d of %d, behind commit %d, from record %d", i, len(taken), at.commits, from)
		}
		if from > 1 {
			again++
		}
		w.close()
	}
	t.Logf("%d crashes, %d of them with a record that is not at the beginning", len(taken), again)
	if again == 0 {
		t.Error("every crash started again from the beginning: that shows nothing")
	}
}

// The same in a log so small that windows close early all the time: no total is
// written over one that counts more, and none counts more than there is.
func TestCrashWhereWindowsCloseEarly(t *testing.T) {
	early := uint64(0)
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 5))
		commits := joined(city{rng: rng, riders: 30, seconds: 150, every: 1, late: 0.2, spread: 0.02}.commits(), 2)
		want, _ := defaults.recount(t, commits)
		dir, bytes := t.TempDir(), int64(200<<10)<<rng.IntN(3)
		w := openSmallWorld(t, dir, bytes, defaults, nil)
		for _, c := range commits {
			w.append(c)
			w.all()
			if rng.IntN(3) == 0 {
				if err := errors.Join(w.log.KeepCursors(), w.log.TrimKept()); err != nil {
					t.Fatal(err)
				}
			}
			if rng.IntN(4) == 0 {
				early += w.rollup.Stats().Early
				to := t.TempDir()
				copyDir(t, dir, to) // without what is kept when the log is closed
				w.close()
				dir = to
				w = openSmallWorld(t, dir, bytes, defaults, w.store.points)
				w.at = c.at
				w.all()
			}
		}
		w.rollup.turn(testContext(t), math.MaxInt64)
		for k, p := range w.store.points {
			if p.pings > want[k].pings {
				t.Errorf("%v counts %d, there are %d", k, p.pings, want[k].pings)
			}
		}
		t.Logf("%d windows closed early so far, %d of %d totals stored", early, len(w.store.points), len(want))
	}
	if early < 20 {
		t.Error("too few to show anything")
	}
}

// world is a log whose roll-up writes its lines into it, and the store they reach.
type world struct {
	*feeder
	appender
	t      testing.TB
	log    *queue.Log
	rollup *Rollup
	store  *store
	wrote  func() // is called when lines have become durable
}

func openWorld(t testing.TB, dir string, r rules, points map[key]point) *world {
	return openSmallWorld(t, dir, 0, r, points)
}

// openSmallWorld opens one whose log is limited; 0 is the usual limit.
func openSmallWorld(t testing.TB, dir string, bytes int64, r rules, points map[key]point) *world {
	w := &world{t: t, log: openLog(t, queue.Config{Dir: dir, MaxBytes: bytes}), store: newStore(t)}
	w.appender.log = w.log
	maps.Copy(w.store.points, points)
	w.rollup = newRollup(t, w.log, r, w.store, func(c *Config) {
		c.Emit = func(ctx context.Context, lines []pingline.Entry) error {
			if err := w.emit(ctx, lines); err != nil {
				return err
			}
			w.store.put(lines)
			if w.wrote != nil {
				w.wrote()
			}
			return nil
		}
	})
	w.feeder = feed(t, w.rollup)
	return w
}

func (w *world) append(c commit) {
	w.t.Helper()
	if err := w.appender.append(testContext(w.t), c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) close() {
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
}

// asChild makes the test binary a process that feeds the log in a directory.
const asChild = "PINGLINE_TEST_ROLLUP_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asChild); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// sent is what the child appends, as far as it gets.
func sent() []commit {
	return city{rng: rand.New(rand.NewPCG(7, 8)), riders: 60, seconds: 600, every: 3, late: 0.05, spread: 0.1}.commits()
}

// child appends what is missing in the log of what is to be sent, and says so
// for each commit, while a roll-up runs.
func child(dir string) error {
	ctx := context.Background()
	log, err := queue.Open(ctx, queue.Config{Dir: dir, Logger: quiet()})
	if err != nil {
		return err
	}
	commits := sent()
	done := log.LastTotals()[countCommits]
	a := appender{log: log, at: start}
	if done > 0 {
		a.at = commits[done-1].at
	}
	r, err := New(Config{Log: log, Node: "a node, of=ours", Lateness: 40 * time.Second, Logger: quiet(), Emit: a.emit})
	if err != nil {
		return err
	}
	r.now = a.now
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- r.Run(running) }()
	for _, c := range commits[done:] {
		if err := a.append(ctx, c); err != nil {
			return err
		}
		fmt.Println("appended")
	}
	stop()
	return errors.Join(<-ended, log.Close())
}

// Killed again and again at any moment, processes together write the totals of
// all pings, and none over one that counts more.
func TestKilled(t *testing.T) {
	r := rules{defaults.resolutions, defaults.windows, 40 * time.Second}
	commits := sent()
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(9, 10))
	kills := 0
	for finished := false; !finished; {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asChild+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		left := rng.IntN(len(commits) / 4)
		for lines := bufio.NewScanner(out); lines.Scan(); left-- {
			if left == 0 && kills < 8 {
				kills++
				_ = cmd.Process.Kill()
			}
		}
		finished = cmd.Wait() == nil
		if !finished && cmd.ProcessState.ExitCode() > 0 {
			t.Fatalf("the process failed: %v", cmd.ProcessState)
		}
	}
	s := newStore(t)
	log := openLog(t, queue.Config{Dir: dir})
	reader := log.Read(1)
	defer reader.Close()
	for n := uint64(0); n < log.Last(); {
		rec, err := reader.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		n = rec.Number
		if rec.Totals[countCommits] == rec.Before[countCommits] {
			s.put(entriesOf(t, &rec))
		}
	}
	want, _ := r.recount(t, commits)
	s.equal(want)
	t.Logf("%d kills, %d commits, %d lines for %d totals", kills, len(commits), s.writes, len(want))
}

func entriesOf(t *testing.T, rec *queue.Record) (list []pingline.Entry) {
	t.Helper()
	_, entries, err := pingline.DecodeCommit(rec.Payload)
	for more := err == nil; more; {
		var e pingline.Entry // each has the memory of its own point
		if more, err = entries.Next(&e); more {
			list = append(list, e)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}
