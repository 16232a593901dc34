package sink

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/limit"
	"pingline/sink/route"
)

func TestNewRefuses(t *testing.T) {
	influx := testInflux(t, influx.Config{URL: "http://127.0.0.1:1"})
	w := testLog(t)
	good := Config{Log: w.log, Shards: []ShardStore{{Name: "a", Store: influx}}, DeadLetterDir: t.TempDir()}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no log":                   func(c *Config) { c.Log = nil },
		"no shard":                 func(c *Config) { c.Shards = nil },
		"a shard without InfluxDB": func(c *Config) { c.Shards = []ShardStore{{Name: "a"}} },
		"two shards of one name":   func(c *Config) { c.Shards = []ShardStore{{Name: "a", Store: influx}, {Name: "a", Store: influx}} },
		"a shard without a name":   func(c *Config) { c.Shards = []ShardStore{{Store: influx}} },
		"no dead letters":          func(c *Config) { c.DeadLetterDir = "" },
		"negative lines":           func(c *Config) { c.BatchLines = -1 },
		"batches too small":        func(c *Config) { c.BatchBytes = 100 },
		"negative wait":            func(c *Config) { c.BatchWait = -1 },
		"negative limit":           func(c *Config) { c.DeadLetterMaxBytes = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := New(cfg); err == nil {
				t.Error("New took it")
			}
		})
	}
}

func TestSinkStoresWhatIsStored(t *testing.T) {
	eachVersion(t, influxd.Config{}, testSinkStoresWhatIsStored)
}

func testSinkStoresWhatIsStored(t *testing.T, server *influxd.Server) {
	influx := testInflux(t, access(server, "pingline"))
	w := testLog(t)
	var mu sync.Mutex
	writes, fresh := 0, 0
	s := testSink(t, w, influx, func(c *Config) {
		c.ObserveWrite = func(shard string, seconds float64) {
			mu.Lock()
			defer mu.Unlock()
			if writes++; shard != "a" || seconds <= 0 {
				t.Errorf("a write to %q took %v s", shard, seconds)
			}
		}
		c.ObserveFreshness = func(_, _ string, ages iter.Seq[float64]) {
			mu.Lock()
			defer mu.Unlock()
			for seconds := range ages {
				if fresh++; seconds < 60 {
					t.Errorf("a ping of half an hour ago is %v s old", seconds)
				}
			}
		}
	})
	stop := start(t, s)
	all := append(mixed(1, 20_000), held(3000)...)
	w.commit(all...) // larger than a batch
	for i := range 50 {
		more := mixed(uint64(100+i), 20)
		w.commit(more...)
		all = append(all, more...)
	}
	drained(t, s)
	stop()
	noLeaks(t)
	sameLines(t, stored(t, influx), lines(all...))
	balanced(t, s, w)
	st := s.Stats()[0]
	if st.Written != 21_000 || st.Oldest != 0 || st.LastError != "" || st.Retries != 0 || st.Breaker != Closed || s.Notes() != nil {
		t.Errorf("%+v, notes %q", st, s.Notes())
	}
	if fresh != 21_000 || writes < 5 {
		t.Errorf("observed %d pings in %d writes", fresh, writes)
	}
}

// Nothing is missed and, after an orderly stop, nothing is written twice.
func TestSinkGoesOnWhereItStopped(t *testing.T) {
	w := testLog(t)
	var mu sync.Mutex
	var got []string
	influx := script(t, func(rw http.ResponseWriter, lines []string) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, lines...)
		rw.WriteHeader(http.StatusNoContent)
	})
	var all []pingline.Entry
	for i := range 3 {
		s := testSink(t, w, influx, nil)
		if q := s.Stats()[0].Queued; q != uint64(len(all))-uint64(len(got)) {
			t.Errorf("run %d begins with %d queued", i, q)
		}
		more := fleet(uint64(i), 7000)
		w.commit(more...)
		all = append(all, more...)
		stop := start(t, s)
		drained(t, s)
		stop()
		balanced(t, s, w)
		if st := s.Stats()[0]; st.Written != 7000 {
			t.Errorf("run %d wrote %d", i, st.Written)
		}
	}
	slices.Sort(got)
	sameLines(t, got, lines(all...))
}

func TestCursorWaitsForInfluxDB(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 10)...)
	asked, answer := make(chan []string), make(chan int)
	influx := script(t, func(rw http.ResponseWriter, lines []string) {
		asked <- lines
		rw.WriteHeader(<-answer)
	})
	s := testSink(t, w, influx, nil)
	start(t, s)
	cursorAt(t, w, 1)
	for _, status := range []int{500, 401, 429, 200, 503} {
		if n := len(<-asked); n != 10 {
			t.Errorf("%d lines are written, want 10", n)
		}
		cursorAt(t, w, 1)
		answer <- status
	}
	<-asked
	w.commit(fleet(2, 3)...) // comes while the first batch is on its way
	if st := s.Stats()[0]; st.Queued != 13 || st.Written != 0 || st.Retries != 5 || st.LastError == "" || st.Oldest <= 0 {
		t.Errorf("before success: %+v", st)
	}
	cursorAt(t, w, 1)
	answer <- http.StatusNoContent
	if n := len(<-asked); n != 3 {
		t.Errorf("%d lines are written, want 3", n)
	}
	cursorAt(t, w, 2)
	answer <- http.StatusNoContent
	drained(t, s)
	balanced(t, s, w)
	if st := s.Stats()[0]; st.LastError != "" {
		t.Errorf("after success: %+v", st)
	}
}

// Batches overtake each other, the cursor does not.
func TestCursorMovesOverWhatIsSettled(t *testing.T) {
	w := testLog(t)
	first := make(chan struct{})
	store := recording(t, func(lines []string) int {
		if strings.Contains(lines[0], "rider=rider-0-") {
			<-first
		}
		return http.StatusNoContent
	})
	s := testSink(t, w, store.Bucket, func(c *Config) { c.BatchLines = 10 })
	start(t, s)
	var all []pingline.Entry
	for i := range 4 {
		some := fleet(uint64(i), 10)
		w.commit(some...)
		all = append(all, some...)
	}
	eventually(t, "the others are delivered", func() bool { return s.Account().Pings.Written == 30 })
	l := s.lane(0, route.Live)
	eventually(t, "that is noted", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		delivered := 0
		for _, sent := range l.inFlight {
			if sent.delivered {
				delivered++
			}
		}
		return delivered == 3
	})
	cursorAt(t, w, 1)
	balanced(t, s, w)
	close(first)
	drained(t, s)
	cursorAt(t, w, 5)
	balanced(t, s, w)
	sameLines(t, store.taken(), linesOf(all...))
}

// While writes hang, no more batches are filled than there is memory for, and
// each lane has at most what it may have on its way.
func TestMemoryIsBoundedInAnOutage(t *testing.T) {
	w := testLog(t)
	hang := make(chan struct{})
	influx := script(t, func(rw http.ResponseWriter, lines []string) {
		<-hang
		rw.WriteHeader(http.StatusNoContent)
	})
	s := testSink(t, w, influx, func(c *Config) { c.BatchLines = 100 })
	start(t, s)
	for i := range 100 {
		w.commit(fleet(uint64(i), 100)...)
	}
	l := s.lane(0, route.Live)
	eventually(t, "all that may be is on its way, and one more is full", func() bool {
		l.progress.mu.Lock()
		defer l.progress.mu.Unlock()
		return l.progress.pending == 100*limit.MaxInFlight && !l.progress.filling.IsZero()
	})
	eventually(t, "what is read ahead is let go", func() bool { return l.parked.Load() })
	if next := l.batcher.Done.Next; next > limit.MaxInFlight+2 { // nothing moves it now
		t.Errorf("%d commits were read", next-1)
	}
	close(hang)
	drained(t, s)
	balanced(t, s, w)
}

// The pool that is beside each lane's own batch is given back, and is not needed
// to go on.
func TestLanesGoOnWithoutThePool(t *testing.T) {
	w := testLog(t)
	influx := script(t, func(rw http.ResponseWriter, lines []string) { rw.WriteHeader(http.StatusNoContent) })
	s := testSink(t, w, influx, func(c *Config) { c.BatchLines = 10 })
	pool := s.shards[0].pool
	all := int64((laneBatches - 2*(int(route.LaneKinds)+1)) * s.shards[0].bytes)
	if !pool.TryAcquire(all) {
		t.Fatal("the pool is smaller than it should be")
	}
	start(t, s)
	w.commit(mixed(1, 1000)...)
	drained(t, s)
	pool.Release(all)
	w.commit(mixed(2, 1000)...)
	drained(t, s)
	eventually(t, "all of the pool is given back", func() bool { return pool.TryAcquire(all) })
	balanced(t, s, w)
}

func TestRetryAfterIsHonoured(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 10)...)
	asked := make(chan time.Time, 10)
	n := 0
	influx := script(t, func(rw http.ResponseWriter, _ []string) {
		asked <- time.Now()
		if n++; n < 3 {
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader([...]int{1: http.StatusTooManyRequests, 2: http.StatusServiceUnavailable}[n])
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	})
	s := testSink(t, w, influx, func(c *Config) { c.RetryMax = time.Millisecond })
	start(t, s)
	drained(t, s)
	for before := <-asked; len(asked) > 0; {
		at := <-asked
		if waited := at.Sub(before); waited < time.Second {
			t.Errorf("tried again after %v, want at least 1 s", waited)
		}
		before = at
	}
}

func TestInfluxDBDiesAndComesBack(t *testing.T) {
	eachVersion(t, influxd.Config{}, testInfluxDBDiesAndComesBack)
}

func testInfluxDBDiesAndComesBack(t *testing.T, server *influxd.Server) {
	hasty := access(server, "pingline")
	hasty.Timeout = time.Second
	influx := testInflux(t, hasty)
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	var all []pingline.Entry
	more := func(seed uint64) {
		list := fleet(seed, 3000)
		w.commit(list...)
		all = append(all, list...)
	}
	more(1)
	drained(t, s)

	server.Kill()
	more(2)
	eventually(t, "the breaker opens", func() bool { return s.Stats()[0].Breaker == Open })
	if st := s.Stats()[0]; st.Queued != 3000 || st.LastError == "" {
		t.Errorf("while it is dead: %+v", st)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	drained(t, s)
	eventually(t, "the breaker closes", func() bool { return s.Stats()[0].Breaker == Closed })

	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	more(3)
	eventually(t, "the frozen server is noticed", func() bool { return s.Stats()[0].LastError != "" })
	if err := server.Continue(); err != nil {
		t.Fatal(err)
	}
	drained(t, s)
	sameLines(t, stored(t, testInflux(t, access(server, "pingline"))), lines(all...))
	balanced(t, s, w)
	if st := s.Stats()[0]; st.DeadLettered() != 0 || st.Retries == 0 {
		t.Errorf("%+v", st)
	}
}

func TestHalfOpenProbesWithLittle(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 1000)...)
	var mu sync.Mutex
	var sizes []int
	influx := script(t, func(rw http.ResponseWriter, lines []string) {
		mu.Lock()
		defer mu.Unlock()
		if sizes = append(sizes, len(lines)); len(sizes) <= 7 {
			rw.WriteHeader(http.StatusInternalServerError)
			return
		}
		rw.WriteHeader(http.StatusNoContent)
	})
	s := testSink(t, w, influx, nil)
	start(t, s)
	drained(t, s)
	if want := []int{1000, 1000, 1000, 1000, 1000, 100, 100, 100, 900}; !slices.Equal(sizes, want) {
		t.Errorf("writes of %v lines, want %v", sizes, want)
	}
}

// Another writer has stored floats where we write strings, and the other way
// round: only our rows that collide are put aside.
func TestFieldTypeConflict(t *testing.T) { eachVersion(t, influxd.Config{}, testFieldTypeConflict) }

func testFieldTypeConflict(t *testing.T, server *influxd.Server) {
	influx := testInflux(t, access(server, "pingline"))
	all := fleet(1, 10_000)
	var good, bad []pingline.Entry
	for i := range all {
		all[i].Event = ""
		if all[i].Trip = ""; i == 0 || i == 9999 || i%1500 == 700 {
			all[i].Event = "sos"
			bad = append(bad, all[i])
		} else {
			good = append(good, all[i])
		}
	}
	write(t, influx, fmt.Sprintf("location,rider=stranger event=1.5 %d000000\n", recently))
	w := testLog(t)
	var mu sync.Mutex
	writes := 0
	s := testSink(t, w, influx, func(c *Config) {
		c.ObserveWrite = func(string, float64) { mu.Lock(); writes++; mu.Unlock() }
	})
	start(t, s)
	w.commit(all...)
	drained(t, s)
	sameLines(t, stored(t, influx), lines(good...))
	balanced(t, s, w)
	var got []string
	for _, d := range deadLettersOf(t, s) {
		got = append(got, rowOf(d))
		if d.Shard != "a" || !strings.HasPrefix(d.Reason, [...]string{1: "status 400: ", 2: "status 422: "}[server.Version()]) || !strings.Contains(d.Reason, `input field "event" on measurement "location" is type string, already exists as type float`) || time.Since(d.At) > time.Hour {
			t.Errorf("dead letter %+v", d)
		}
	}
	slices.Sort(got)
	sameLines(t, got, lines(bad...))
	if st := s.Stats()[0]; st.DeadLetters["field type conflict"] != uint64(len(bad)) || len(st.DeadLetters) != 1 || st.LastError != "" {
		t.Errorf("%+v", st)
	}
	if most := len(bad) * 13; writes > most { // log2(5000) good halves for each bad row
		t.Errorf("%d good writes, want at most %d", writes, most)
	}
}

func TestPointsBeyondRetention(t *testing.T) {
	eachVersion(t, influxd.Config{Bucket: "pingline/short", Retention: 2 * time.Hour}, testPointsBeyondRetention)
}

func testPointsBeyondRetention(t *testing.T, server *influxd.Server) {
	influx := testInflux(t, access(server, "pingline/short"))
	all := fleet(1, 4000)
	for i := range all[1000:1900] { // a phone that was offline
		all[1000+i].At -= time.Hour.Milliseconds() * 24
	}
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	w.commit(all...)
	drained(t, s)
	sameLines(t, stored(t, influx), lines(append(slices.Clone(all[:1000]), all[1900:]...)...))
	if st := s.Stats()[0]; st.DeadLetters["beyond retention"] != 900 {
		t.Errorf("%+v", st)
	}
	balanced(t, s, w)
}

func TestTooLargeIsHalved(t *testing.T) {
	server := influxd.RunTest(t, "INFLUXDB_HTTP_MAX_BODY_SIZE=8000")
	influx := testInflux(t, influx.Config{URL: server.URL()})
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	all := fleet(1, 3000)
	w.commit(all...)
	drained(t, s)
	sameLines(t, stored(t, influx), lines(all...))
	if st := s.Stats()[0]; st.Written != 3000 || st.DeadLettered() != 0 {
		t.Errorf("%+v", st)
	}
}

// A limit of the database is not the row's fault: all is kept until it is
// raised, or as here room is made.
func TestLimitOfTheDatabase(t *testing.T) {
	server := influxd.RunTest(t, "INFLUXDB_DATA_MAX_VALUES_PER_TAG=20")
	influx := testInflux(t, influx.Config{URL: server.URL()})
	for i := range 20 {
		write(t, influx, fmt.Sprintf("location,rider=stranger-%d x=1 %d000000\n", i, recently))
	}
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	all := fleet(1, 500)
	w.commit(all...)
	eventually(t, "the operator is told", func() bool {
		notes := s.Notes()
		return len(notes) == 1 && strings.Contains(notes[0], "max-values-per-tag limit exceeded") && strings.Contains(notes[0], "500 pings wait")
	})
	cursorAt(t, w, 1)
	influxtest.Execute(t, server, "pingline", `DROP MEASUREMENT "location"`)
	drained(t, s)
	sameLines(t, stored(t, influx), lines(all...))
	if st := s.Stats()[0]; st.DeadLettered() != 0 || s.Notes() != nil {
		t.Errorf("%+v, notes %q", st, s.Notes())
	}
}

func TestWrongTokenPutRightWithoutRestart(t *testing.T) {
	eachVersion(t, withPasswords, testWrongTokenPutRightWithoutRestart)
}

func testWrongTokenPutRightWithoutRestart(t *testing.T, server *influxd.Server) {
	refused := [...]string{1: "401: authorization failed", 2: "401: unauthorized access"}[server.Version()]
	file := filepath.Join(t.TempDir(), "token")
	token := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token("admin:hunter2")
	cfg := access(server, "pingline")
	cfg.TokenFile = file
	influx := testInflux(t, cfg)
	var log strings.Builder
	w := testLog(t)
	s := testSink(t, w, influx, func(c *Config) { c.Logger = testLogger(&log) })
	stop := start(t, s)
	all := fleet(1, 500)
	w.commit(all...)
	eventually(t, "the operator is told", func() bool {
		notes := s.Notes()
		return len(notes) == 1 && strings.Contains(notes[0], refused)
	})
	token(server.Token() + "\n")
	drained(t, s)
	sameLines(t, stored(t, influx), lines(all...))
	stop()
	if out := log.String(); !strings.Contains(out, "level=ERROR") || !strings.Contains(out, "the shard takes writes again") || strings.Contains(out, "hunter2") || strings.Contains(out, server.Token()) {
		t.Errorf("the log is\n%s", out)
	}
}

// 2.x refuses a write without an organization with 400, as it does a bad row.
func TestForgottenOrganizationLosesNothing(t *testing.T) {
	cfg := access(influxd.RunTest2(t), "pingline")
	cfg.Org = ""
	w := testLog(t)
	forgetful := testSink(t, w, testInflux(t, cfg), nil)
	stop := start(t, forgetful)
	all := fleet(1, 500)
	w.commit(all...)
	eventually(t, "the operator is told", func() bool {
		notes := forgetful.Notes()
		return len(notes) == 1 && strings.Contains(notes[0], "500 pings wait") && strings.Contains(notes[0], "400: Please provide either orgID or org")
	})
	stop()
	cfg.Org = "pingline"
	influx := testInflux(t, cfg)
	s := testSink(t, w, influx, nil)
	start(t, s)
	drained(t, s)
	sameLines(t, stored(t, influx), lines(all...))
	if n := forgetful.Stats()[0].DeadLettered() + s.Stats()[0].DeadLettered(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

func TestFullDeadLettersStopTheLane(t *testing.T) {
	server := influxd.RunTest(t)
	influx := testInflux(t, influx.Config{URL: server.URL()})
	write(t, influx, fmt.Sprintf("location,rider=stranger trip=1.5 %d000000\n", recently))
	all := fleet(1, 2000)
	for i := range all {
		all[i].Trip = ""
	}
	for i := 100; i < 120; i += 2 {
		all[i].Trip = "t"
	}
	w := testLog(t)
	full := func(c *Config) { c.DeadLetterMaxBytes = 2000 }
	first := testSink(t, w, influx, full)
	stop := start(t, first)
	w.commit(all...)
	eventually(t, "the operator is told", func() bool {
		notes := first.Notes()
		return len(notes) == 1 && strings.Contains(notes[0], "dead letters are full")
	})
	some := deadLettersOf(t, first)
	if len(some) == 0 || len(some) >= 10 {
		t.Errorf("%d dead letters fit", len(some))
	}
	more := fleet(2, 5)
	for i := range more {
		more[i].Trip = ""
	}
	w.commit(more...)
	cursorAt(t, w, 1)
	balanced(t, first, w)
	stop()
	noLeaks(t)

	// After a restart it is the same, until the operator makes room.
	elsewhere := t.TempDir()
	second := testSink(t, w, influx, func(c *Config) { full(c); c.DeadLetterDir = first.cfg.DeadLetterDir })
	start(t, second)
	eventually(t, "the operator is told again", func() bool { return len(second.Notes()) == 1 })
	i := 0
	eventually(t, "all is passed", func() bool {
		names, err := filepath.Glob(filepath.Join(first.cfg.DeadLetterDir, "*.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := os.Rename(name, filepath.Join(elsewhere, fmt.Sprint(i, filepath.Base(name)))); err != nil {
				t.Fatal(err)
			}
		}
		i++
		return second.Stats()[0].Queued == 0
	})
	good := slices.DeleteFunc(append(all, more...), func(e pingline.Entry) bool { return e.Trip != "" })
	sameLines(t, stored(t, influx), lines(good...))
	balanced(t, second, w)
}

// A write under way when the sink is told to stop may still end well.
func TestStopGivesTheLastWriteItsGrace(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 10)...)
	under, release := make(chan struct{}), make(chan struct{})
	influx := script(t, func(rw http.ResponseWriter, _ []string) {
		close(under)
		<-release
		rw.WriteHeader(http.StatusNoContent)
	})
	s := testSink(t, w, influx, func(c *Config) { c.Grace = time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-under
	cancel()
	close(release)
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	cursorAt(t, w, 2)
	noLeaks(t)
}

func TestStopDoesNotWaitForADeadServer(t *testing.T) {
	w := testLog(t)
	w.commit(fleet(1, 10)...)
	under, release := make(chan struct{}), make(chan struct{})
	influx := script(t, func(http.ResponseWriter, []string) {
		close(under)
		<-release
	})
	defer close(release)
	s := testSink(t, w, influx, func(c *Config) { c.Grace = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-under
	cancel()
	if err := <-done; err != nil { // the server answers only after this
		t.Errorf("Run = %v", err)
	}
	cursorAt(t, w, 1)
	if st := s.Stats()[0]; st.Queued != 10 || st.Written != 0 {
		t.Errorf("%+v", st)
	}
	noLeaks(t)
}

func TestRunFailsWithTheLog(t *testing.T) {
	w := testLog(t)
	s := testSink(t, w, testInflux(t, influx.Config{URL: "http://127.0.0.1:1"}), nil)
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("Run = nil, though the log is closed")
	}
	noLeaks(t)
}

// testLogger writes where a test looks.
func testLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestTwoShards(t *testing.T) {
	server := influxd.RunTest(t)
	var shards []ShardStore
	for _, name := range []string{"a", "b"} {
		influx := testInflux(t, influx.Config{URL: server.URL(), Bucket: name})
		if err := influx.CreateDatabase(t.Context()); err != nil {
			t.Fatal(err)
		}
		shards = append(shards, ShardStore{Name: name, Store: influx})
	}
	w := testLog(t)
	s := testSink(t, w, nil, func(c *Config) { c.Shards, c.Spread = shards, spread(t, "a", "b") })
	start(t, s)
	all := mixed(1, 2000)
	w.commit(all...)
	drained(t, s)
	balanced(t, s, w)
	for i, sh := range shards {
		var mine []pingline.Entry
		for j := range all {
			if s.cfg.Spread.Of(&all[j]) == i {
				mine = append(mine, all[j])
			}
		}
		sameLines(t, stored(t, sh.Store.(*influx.Bucket)), lines(mine...))
		if st := s.Stats()[i]; len(mine) == 0 || st.Written != uint64(len(mine)) {
			t.Errorf("%d rows are the shard's: %+v", len(mine), st)
		}
	}
}
