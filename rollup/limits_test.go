package rollup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
)

// ping is one of a rider at second s, in a place of its own for each place.
func ping(rider string, s float64, place int) pingline.Entry {
	e := pingline.Entry{Ping: pingline.Ping{Rider: rider}, Verdict: pingline.Redundant}
	e.At = start + int64(s*1000)
	e.LatE7, e.LonE7 = 411_500_000, -86_290_000+int32(place)*200_000
	return e
}

// at is a commit at second s.
func at(s float64, entries ...pingline.Entry) commit {
	return commit{start + int64(s*1000), entries}
}

// total returns the pings of all cells of a resolution in the window that begins
// at second s.
func (s *store) total(res int, window string, second float64) (pings int64) {
	for k, p := range s.points {
		if k.res == res && k.window == window && k.from == start+int64(second*1000) {
			pings += p.pings
		}
	}
	return pings
}

func TestWrittenWhen(t *testing.T) {
	w := openWorld(t, t.TempDir(), defaults, nil)
	for _, step := range []struct {
		c     commit
		fact  string
		pings int64 // of the window from second 0 on
		wrote int   // lines of 10 s windows in all resolutions, since the start
	}{
		{at(9, ping("a", 1, 0), ping("b", 2, 0)), "it has not ended", 0, 0},
		{at(11.9), "it may lack pings", 0, 0},
		{at(12), "2 s after its end", 2, 3},
		{at(13, ping("a", 3, 0), ping("c", 4, 1)), "late pings wait", 2, 3},
		{at(17.9), "until 8 s after its end", 2, 3},
		{at(18), "all are written again, and a cell is new", 4, 7},
		{at(41), "nothing is new", 4, 7},
		{at(42), "nothing is new after 32 s", 4, 7},
		{at(129.9, ping("a", 5, 0)), "just in time", 4, 7},
		{at(130, ping("a", 6, 0)), "it is final", 5, 10},
		{at(140, ping("a", 7, 0)), "nothing changes any more", 5, 10},
	} {
		w.append(step.c)
		w.all()
		wrote := 0
		for _, s := range w.rollup.Stats().Stages[:3] {
			wrote += int(s.Points)
		}
		if got := w.store.total(8, "10s", 0); got != step.pings || wrote != step.wrote {
			t.Errorf("%s: %d pings, %d lines, want %d and %d", step.fact, got, wrote, step.pings, step.wrote)
		}
	}
	if got := w.rollup.Stats().Late; got != 2 {
		t.Errorf("%d pings are late, want 2", got)
	}
}

func TestMovingAndWaiting(t *testing.T) {
	const east = 7_000 // 1e-7 degree, about 59 m here
	speed := func(e pingline.Entry, v float64) pingline.Entry {
		e.SetOptional(pingline.HasSpeed, v)
		return e
	}
	far := func(e pingline.Entry) pingline.Entry {
		e.LonE7 += east
		return e
	}
	device := func(e pingline.Entry) pingline.Entry {
		e.Device = "d"
		return e
	}
	for _, tt := range []struct {
		name   string
		before []pingline.Entry // in a window before
		pings  []pingline.Entry
		moving int64
	}{
		{"fast enough", nil, []pingline.Entry{speed(ping("a", 11, 0), 0.5)}, 1},
		{"too slow", nil, []pingline.Entry{speed(ping("a", 11, 0), 0.49)}, 0},
		{"once is enough", nil, []pingline.Entry{speed(ping("a", 11, 0), 3), speed(ping("a", 12, 0), 0)}, 1},
		{"nobody knows", nil, []pingline.Entry{ping("a", 11, 0)}, 0},
		{"on its way", nil, []pingline.Entry{ping("a", 11, 0), far(ping("a", 12, 0))}, 1},
		{"since the window before", []pingline.Entry{ping("a", 8, 0)}, []pingline.Entry{far(ping("a", 12, 0))}, 1},
		{"out of order", nil, []pingline.Entry{ping("a", 12, 0), far(ping("a", 11, 0))}, 1},
		{"at the same place", nil, []pingline.Entry{ping("a", 11, 0), ping("a", 12, 0)}, 0},
		{"at the same time", nil, []pingline.Entry{ping("a", 11, 0), far(ping("a", 11, 0))}, 0},
		{"slowly", []pingline.Entry{ping("a", -118, 0)}, []pingline.Entry{far(ping("a", 12, 0))}, 0},
		{"another device", []pingline.Entry{device(ping("a", 8, 0))}, []pingline.Entry{far(ping("a", 12, 0))}, 0},
		{"one that knows its speed is no start", []pingline.Entry{speed(ping("a", 8, 0), 0)}, []pingline.Entry{far(ping("a", 12, 0))}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := openWorld(t, t.TempDir(), defaults, nil)
			w.append(at(9, tt.before...))
			w.append(at(21, tt.pings...))
			w.append(at(22))
			w.all()
			var got point
			for k, p := range w.store.points {
				if k.res == 8 && k.window == "10s" && k.from == start+10_000 {
					got = p
				}
			}
			if got.riders != 1 || got.moving != tt.moving || got.waiting != 1-tt.moving {
				t.Errorf("%+v, want %d moving", got, tt.moving)
			}
		})
	}
}

// While lines are not taken, no window closes and the record stands; then all come.
func TestEmitFails(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 50, seconds: 600, every: 3, late: 0.05, spread: 0.1}.commits()
	log := openLog(t, queue.Config{})
	a, s := appender{log: log}, newStore(t)
	rng := rand.New(rand.NewPCG(2, 2))
	well := 0.5 // how often it goes well
	r := newRollup(t, log, defaults, s, func(c *Config) {
		emit := c.Emit
		c.Emit = func(ctx context.Context, lines []pingline.Entry) error {
			ok := rng.Float64() < well
			if ok || rng.IntN(2) == 0 { // or it is durable all the same
				if err := emit(ctx, lines); err != nil {
					return err
				}
			}
			if !ok {
				return errors.New("unavailable")
			}
			return nil
		}
	})
	f := feed(t, r)
	var stands queue.Cursor
	for i, c := range commits {
		switch i {
		case len(commits) / 3:
			well = 0
			stands, _ = log.Cursor(Cursor)
		case len(commits) * 2 / 3:
			if at, _ := log.Cursor(Cursor); at != stands || stands.Next == 1 {
				t.Errorf("the record has moved from %d to %d without lines", stands.Next, at.Next)
			}
			well = 1
		}
		if err := a.append(testContext(t), c); err != nil {
			t.Fatal(err)
		}
		f.all()
	}
	if at, _ := log.Cursor(Cursor); at.Next <= stands.Next {
		t.Errorf("the record still stands at %d", at.Next)
	}
	r.turn(testContext(t), math.MaxInt64)
	want, _ := defaults.recount(t, commits)
	s.equal(want)
	if stats := r.Stats(); stats.Failures < 2 || stats.Early > 0 {
		t.Errorf("%+v", stats)
	}
}

func TestLevels(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 50, seconds: 100, every: 3, spread: 0.1}.commits()
	want, _ := defaults.recount(t, commits)
	for _, tt := range []struct {
		level, then int // then: before anything closes
		written     func(key) bool
	}{
		{0, 0, func(key) bool { return true }},
		{1, 1, func(k key) bool { return k.res == 4 }},
		{2, 2, func(key) bool { return false }},
		{4, 4, func(key) bool { return false }},
		{1, 0, func(key) bool { return true }},
		{3, 0, func(key) bool { return true }},
	} {
		t.Run(fmt.Sprint(tt.level, " then ", tt.then), func(t *testing.T) {
			log := openLog(t, queue.Config{})
			a, s := appender{log: log}, newStore(t)
			level := tt.level
			r := newRollup(t, log, defaults, s, func(c *Config) { c.Policy = func() pingline.Policy { return pingline.PolicyAt(level) } })
			f := feed(t, r)
			for _, c := range commits {
				if err := a.append(testContext(t), c); err != nil {
					t.Fatal(err)
				}
			}
			f.all()
			level = tt.then
			if err := a.append(testContext(t), at(1000)); err != nil {
				t.Fatal(err)
			}
			f.all()
			expect, withheld := map[key]point{}, uint64(0)
			for k, p := range want {
				if tt.written(k) {
					expect[k] = p
				} else {
					withheld++
				}
			}
			s.equal(expect)
			for _, stage := range r.Stats().Stages {
				withheld -= stage.Withheld
			}
			if withheld != 0 || len(r.windows[0])+len(r.windows[1]) > 0 {
				t.Errorf("%d totals are not counted as withheld, %d windows open", int64(withheld), len(r.windows[0])+len(r.windows[1]))
			}
		})
	}
}

// A log so small that open windows hold back an eighth of it closes them early,
// whether the lines are taken or not, so that it can be trimmed; never does a part
// go over a whole.
func TestSmallLog(t *testing.T) {
	for _, full := range []bool{false, true} {
		t.Run(fmt.Sprint("full ", full), func(t *testing.T) {
			commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 100, seconds: 150, every: 1, late: 0.02, spread: 0.1}.commits()
			log := openLog(t, queue.Config{MaxBytes: 1 << 20})
			a, s := appender{log: log}, newStore(t)
			r := newRollup(t, log, defaults, s, func(c *Config) {
				emit := c.Emit
				c.Emit = func(ctx context.Context, lines []pingline.Entry) error {
					if full {
						return errors.New("the log is full")
					}
					return emit(ctx, lines)
				}
			})
			f := feed(t, r)
			for _, c := range commits {
				if err := a.append(testContext(t), c); err != nil {
					t.Fatal(err)
				}
				f.all()
				at, _ := log.Cursor(Cursor)
				if held := log.BytesSince(at.Next); held > log.Limit()/8+int64(16<<10) {
					t.Fatalf("%d bytes are held back of %d", held, log.Limit())
				}
				if err := errors.Join(log.KeepCursors(), log.TrimKept()); err != nil {
					t.Fatal(err)
				}
			}
			r.turn(testContext(t), math.MaxInt64)
			stats := r.Stats()
			if stats.Early == 0 || log.First() == 1 {
				t.Errorf("nothing was closed early, or trimmed: %+v", stats)
			}
			lost := uint64(0)
			for _, stage := range stats.Stages {
				lost += stage.Lost
			}
			if full != (lost > 0) || full != (s.writes == 0) {
				t.Errorf("%d totals are lost, %d lines written", lost, s.writes)
			}
			if notes := r.Notes(); len(notes) == 0 || !strings.Contains(notes[0], "before their time") {
				t.Errorf("notes: %q", notes)
			}
			if !full {
				want, _ := defaults.recount(t, commits)
				for k, p := range s.points {
					if w := want[k]; p.pings > w.pings {
						t.Errorf("%v counts %d, there are %d", k, p.pings, w.pings)
					}
				}
			}
			if total := log.LastTotals()[pingline.TotalPings]; stats.Pings+stats.Late != total {
				t.Errorf("%d counted and %d late of %d", stats.Pings, stats.Late, total)
			}
		})
	}
}

// A flood of cells is counted in coarser ones, within the limit of memory; what
// is counted is right.
func TestFlood(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var commits []commit
	for s := range 60 {
		c := commit{at: start + int64(s)*1000 + 900}
		for i := range 600 {
			e := ping(fmt.Sprint("r-", i), float64(s)+rng.Float64()/2, 0)
			e.LatE7, e.LonE7 = 400_000_000+rng.Int32N(100_000_000), rng.Int32N(100_000_000)
			c.entries = append(c.entries, e)
		}
		commits = append(commits, c)
	}
	want, _ := defaults.recount(t, commits)
	for _, limit := range []int64{1 << 20, 2 << 20, 128 << 20} {
		t.Run(fmt.Sprint(limit>>20, " MiB"), func(t *testing.T) {
			log := openLog(t, queue.Config{})
			a, s := appender{log: log}, newStore(t)
			r := newRollup(t, log, defaults, s, func(c *Config) { c.MaxBytes = limit })
			f := feed(t, r)
			most := int64(0)
			for _, c := range commits {
				if err := a.append(testContext(t), c); err != nil {
					t.Fatal(err)
				}
				f.all()
				most = max(most, r.Stats().Bytes)
			}
			r.turn(testContext(t), math.MaxInt64)
			stats := r.Stats()
			t.Logf("at most %d bytes; %+v", most, stats)
			if most > limit+estimatorBytes {
				t.Errorf("%d bytes are in use, more than %d", most, limit)
			}
			if small := limit < 128<<20; small != (stats.Coarsened > 0) {
				t.Errorf("%d windows were coarsened", stats.Coarsened)
			}
			if notes := r.Notes(); (len(notes) > 0) != (stats.Coarsened > 0) {
				t.Errorf("notes: %q", notes)
			}
			coarse := 0
			for k, p := range want {
				got := s.points[k]
				if k.res == 4 && stats.LeftOut == 0 {
					coarse++
					if !same(got, p) {
						t.Fatalf("%v is %+v, want %+v", k, got, p)
					}
				}
				if got.pings > p.pings {
					t.Fatalf("%v is %+v, want at most %+v", k, got, p)
				}
			}
			if limit == 128<<20 {
				s.equal(want)
			}
			if limit == 2<<20 && (stats.LeftOut > 0 || coarse == 0) {
				t.Errorf("%d pings were left out, %d cells of the coarsest resolution: want none and some", stats.LeftOut, coarse)
			}
			if total := log.LastTotals()[pingline.TotalPings]; stats.Pings+stats.LeftOut+stats.Late != total {
				t.Errorf("%d pings counted and %d left out of %d", stats.Pings, stats.LeftOut, total)
			}
		})
	}
}

// Started in the middle of a log, it leaves out what had begun by then.
func TestStartsInTheMiddle(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 300, seconds: 500, every: 1, late: 0.02, spread: 0.1}.commits()
	log := openLog(t, queue.Config{MaxBytes: 32 << 20})
	a, s := appender{log: log}, newStore(t)
	for i, c := range commits {
		if err := a.append(testContext(t), c); err != nil {
			t.Fatal(err)
		}
		if i == 100 {
			if err := log.Trim(log.Last() + 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if log.First() == 1 {
		t.Fatal("the log was not trimmed")
	}
	r := newRollup(t, log, defaults, s, nil)
	f := feed(t, r)
	f.all()
	r.turn(testContext(t), math.MaxInt64)
	begun := commits[log.First()-1].at + (2 * time.Minute).Milliseconds()
	want, _ := defaults.recount(t, commits)
	for k := range want {
		if k.from <= begun {
			delete(want, k)
		}
	}
	s.equal(want)
	if stats := r.Stats(); stats.LeftOut == 0 {
		t.Errorf("%+v", stats)
	}
}
