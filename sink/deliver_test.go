package sink

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/influx"
	"pingline/sink/resume"
	"pingline/sink/route"
	"pingline/sink/store"
)

// counter counts the requests that pass a way to a server.
type counter struct{ writes, others atomic.Int64 }

// counted opens a bucket of a server through a proxy that counts.
func counted(t testing.TB, cfg influx.Config) (*influx.Bucket, *counter) {
	t.Helper()
	there, err := url.Parse(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := new(counter)
	proxy := httputil.NewSingleHostReverseProxy(there)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/write") {
			c.writes.Add(1)
		} else {
			c.others.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	cfg.URL = server.URL
	return testInflux(t, cfg), c
}

// atOnce writes line protocol as a stranger would.
func atOnce(t *testing.T, influx *influx.Bucket, format string, args ...any) {
	t.Helper()
	write(t, influx, fmt.Sprintf(format, args...))
}

// timeOf returns the time, ms, of a line on its way to InfluxDB.
func timeOf(line string) int64 {
	at, _ := (&pingline.Entry{Kind: pingline.ReplayedNano, Line: strings.TrimSpace(line)}).LineTime()
	return at
}

// resubmit appends all dead letters to the log, as a replay does.
func resubmit(t *testing.T, s *Sink, w *writer) (n int) {
	t.Helper()
	if _, err := s.dead.Replay(t.Context(), func(*deadletter.Letter) bool { return true }); err != nil {
		t.Fatal(err)
	}
	n, err := s.dead.TakeReplays(t.Context(), func(list []*deadletter.Letter) error {
		var entries []pingline.Entry
		for _, l := range list {
			entries = append(entries, l.Entry)
		}
		w.commit(entries...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Ten rows of a hundred thousand are bad, in three ways. They cost few writes,
// and their neighbours nothing.
func TestTenPoisonRowsOfAHundredThousand(t *testing.T) {
	eachVersion(t, influxd.Config{Retention: 30 * 24 * time.Hour}, testTenPoisonRows)
}

func testTenPoisonRows(t *testing.T, server *influxd.Server) {
	influx, requests := counted(t, access(server, "pingline"))
	const day = 24 * 3600_000
	all := fleet(1, 100_000)
	for i := range all { // for each lane enough good ones
		switch i % 10 {
		case 0:
			all[i].Event = "trip_start"
		case 1, 2, 3, 4:
			all[i].At -= 3600_000
		}
	}
	causes := make(map[string]string) // by line
	rnd := rand.New(rand.NewPCG(5, 6))
	for i := range 10 {
		e := &all[rnd.IntN(len(all))]
		var cause string
		switch i % 3 {
		case 0:
			e.At, e.Event, cause = recently-5*day, "sos", store.TypeConflict
			atOnce(t, influx, "location,rider=stranger event=1.5 %d000000\n", e.At)
		case 1:
			e.At, e.Event, cause = recently-31*day, "", store.Expired
		case 2:
			e.At, e.Event, cause = recently-10*day, "", store.TypeConflict
			e.SetOptional(pingline.HasSpeed, 7.5)
			atOnce(t, influx, "location,rider=stranger speed=\"fast\" %d000000\n", e.At)
		}
		causes[string(appendLine(nil, e))] = cause
	}
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	for chunk := range slices.Chunk(all, 10_000) {
		w.commit(chunk...)
	}
	drained(t, s)
	writes, others := requests.writes.Load(), requests.others.Load()
	t.Logf("%d writes, %d other requests", writes, others)
	if writes >= 400 || others > 5 {
		t.Errorf("%d writes and %d other requests, want less than 400 and few", writes, others)
	}
	good := slices.DeleteFunc(slices.Clone(all), func(e pingline.Entry) bool {
		return causes[string(appendLine(nil, &e))] != ""
	})
	if len(good) != 99_990 {
		t.Fatalf("%d rows are good", len(good))
	}
	letters := deadLettersOf(t, s)
	for _, l := range letters {
		if want := causes[rowOf(l)]; l.Cause != want || l.Shard != "a" {
			t.Errorf("dead letter %+v, want cause %q", l, want)
		}
	}
	if st := s.Stats()[0]; len(letters) != 10 || st.DeadLetters[store.TypeConflict] != 7 || st.DeadLetters[store.Expired] != 3 {
		t.Errorf("%d letters, %+v", len(letters), st)
	}
	balanced(t, s, w)

	// The operator puts it right, and has them stored after all. Only now can all
	// events be read: of a field that has two types InfluxQL gives one.
	if err := server.DeleteBefore(t.Context(), "pingline", time.UnixMilli(recently-4*day)); err != nil {
		t.Fatal(err)
	}
	sameLines(t, stored(t, influx), lines(good...))
	keepFor(t, server, "pingline", 365*24*time.Hour)
	if n := resubmit(t, s, w); n != 10 {
		t.Errorf("%d letters are replayed", n)
	}
	drained(t, s)
	sameLines(t, stored(t, influx), lines(all...))
	if left := deadLettersOf(t, s); len(left) != 0 {
		t.Errorf("%d dead letters are left, such as %+v", len(left), left[0])
	}
	balanced(t, s, w)
}

func keepFor(t *testing.T, server *influxd.Server, bucket string, keep time.Duration) {
	t.Helper()
	if err := server.SetRetention(t.Context(), bucket, keep); err != nil {
		t.Fatal(err)
	}
}

// forgiving is a server that takes what spoils does not find fault with; of a
// write with bad rows it takes none, as it may.
func forgiving(t *testing.T, spoils func(line string) (message string)) (influx *influx.Bucket, rows *sync.Map) {
	t.Helper()
	rows = new(sync.Map)
	return script(t, func(rw http.ResponseWriter, lines []string) {
		bad, message := 0, ""
		for _, line := range lines {
			if m := spoils(line); m != "" {
				bad, message = bad+1, m
			}
		}
		if bad > 0 {
			rw.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(rw, `{"error":%q}`, fmt.Sprintf("partial write: %s dropped=%d", message, bad))
			return
		}
		for _, line := range lines {
			rows.Store(line, true)
		}
		rw.WriteHeader(http.StatusNoContent)
	}), rows
}

// The error of InfluxDB is a hint of which rows it means: a minority that has the
// field of a type conflict, or rows from before a time. A hint that is wrong or
// no help costs next to nothing.
func TestHintsSaveWrites(t *testing.T) {
	const conflict = `field type conflict: input field "trip" on measurement "location" is type string, already exists as type float`
	old := recently - 120_000 // live all the same
	bound := "dropped 9 points outside retention policy of duration 2h0m0s - oldest point location at 1970-01-01T00:00:01Z dropped because it violates a Retention Policy Lower Bound at " +
		time.UnixMilli(recently).UTC().Format(time.RFC3339Nano) + ", newest point"
	for _, tt := range []struct {
		name   string
		mark   func(i int, e *pingline.Entry) // each row
		spoils func(line string) string
		bad    int
		writes int64 // at most
	}{
		{"the rows with a field", func(i int, e *pingline.Entry) {
			if i%10 == 5 {
				e.Trip = "t"
			}
		}, func(line string) string {
			if strings.Contains(line, "trip=") {
				return conflict
			}
			return ""
		}, 500, 3},
		{"one of a few rows with a field", func(i int, e *pingline.Entry) {
			if i%10 == 5 {
				e.Trip = "t"
			}
			if i == 25 {
				e.Trip = "bad"
			}
		}, func(line string) string {
			if strings.Contains(line, `trip="bad"`) {
				return conflict
			}
			return ""
		}, 1, 3 + 2*9},
		{"one of rows that all have the field", func(i int, e *pingline.Entry) {
			e.Trip = "t"
			if i == 4999 {
				e.Trip = "bad"
			}
		}, func(line string) string {
			if strings.Contains(line, `trip="bad"`) {
				return conflict
			}
			return ""
		}, 1, 1 + 2*13},
		{"another field than the one named", func(i int, e *pingline.Entry) {
			if i%10 == 5 {
				e.Trip = "t"
			}
			if i == 24 {
				e.Device = "bad"
			}
		}, func(line string) string {
			if strings.Contains(line, `device=bad`) {
				return conflict
			}
			return ""
		}, 1, 3 + 2*13},
		{"rows from before a time", func(i int, e *pingline.Entry) {
			if i%5 < 4 && i < 1000 {
				e.At = old
			}
		}, func(line string) string {
			if timeOf(line) == old {
				return bound
			}
			return ""
		}, 800, 3},
		{"a row from after the time named", func(i int, e *pingline.Entry) {
			if i == 7 {
				e.Device = "bad"
			}
			if i%5 == 1 {
				e.At = old
			}
		}, func(line string) string {
			if strings.Contains(line, `device=bad`) {
				return bound
			}
			return ""
		}, 1, 3 + 2*13},
		{"a time that is not told", func(i int, e *pingline.Entry) {
			if i == 7 {
				e.At = old
			}
		}, func(line string) string {
			if timeOf(line) == old {
				return "points beyond retention policy"
			}
			return ""
		}, 1, 1 + 2*13},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := testLog(t)
			direct, taken := forgiving(t, tt.spoils)
			influx, requests := counted(t, influx.Config{URL: direct.URL()})
			all := fleet(1, 5000)
			var good []string
			for i := range all {
				all[i].Device, all[i].Trip = "", ""
				tt.mark(i, &all[i])
				if line := string(appendLine(nil, &all[i])); tt.spoils(line) == "" {
					good = append(good, line)
				}
			}
			s := testSink(t, w, influx, nil)
			start(t, s)
			w.commit(all...)
			drained(t, s)
			balanced(t, s, w)
			for _, line := range good {
				if _, ok := taken.Load(line); !ok {
					t.Fatalf("not written: %s", line)
				}
			}
			if st := s.Stats()[0]; st.DeadLettered() != uint64(tt.bad) || len(deadLettersOf(t, s)) != tt.bad {
				t.Errorf("%d dead letters, want %d", st.DeadLettered(), tt.bad)
			}
			if n := requests.writes.Load(); n > tt.writes {
				t.Errorf("%d writes, want at most %d", n, tt.writes)
			}
		})
	}
}

// A user who may only write is not told the retention by 1.8: then it costs more
// writes, and that is all.
func TestRetentionThatIsNotTold(t *testing.T) {
	cfg := withPasswords
	cfg.Retention = 2 * time.Hour
	eachVersion(t, cfg, func(t *testing.T, server *influxd.Server) {
		blind := access(server, "pingline")
		blind.Token = createToken(t, server, false, true)
		all := fleet(1, 2000)
		for i := range all {
			all[i].At -= time.Hour.Milliseconds()
			if i%400 == 7 {
				all[i].At -= 24 * time.Hour.Milliseconds()
			}
		}
		influx := testInflux(t, blind)
		if keep, _ := influx.Retention(t.Context()); keep != 0 {
			t.Errorf("a token that may not read is told %v", keep)
		}
		if keep, _ := testInflux(t, access(server, "pingline")).Retention(t.Context()); keep != 2*time.Hour {
			t.Errorf("one that may read is told %v", keep)
		}
		w := testLog(t)
		s := testSink(t, w, influx, nil)
		start(t, s)
		w.commit(all...)
		drained(t, s)
		good := slices.DeleteFunc(slices.Clone(all), func(e pingline.Entry) bool { return e.At < recently-24*time.Hour.Milliseconds() })
		sameLines(t, stored(t, testInflux(t, access(server, "pingline"))), lines(good...))
		if st := s.Stats()[0]; st.DeadLetters[store.Expired] != 5 {
			t.Errorf("%+v", st)
		}
	})
}

func TestRetentionIsLearnt(t *testing.T) {
	eachVersion(t, influxd.Config{Bucket: "pingline/week", Retention: 7 * 24 * time.Hour}, func(t *testing.T, server *influxd.Server) {
		createBucket(t, server, "forever", 0)
		createBucket(t, server, "hours", 3*time.Hour)
		for bucket, want := range map[string]time.Duration{
			"pingline/week": 7 * 24 * time.Hour, "forever": 0, "hours": 3 * time.Hour, "nothing": 0,
		} {
			influx, requests := counted(t, access(server, bucket))
			for range 3 {
				if keep, _ := influx.Retention(t.Context()); keep != want {
					t.Errorf("bucket %q keeps points for %v, want %v", bucket, keep, want)
				}
			}
			if n := requests.others.Load(); n > 2 {
				t.Errorf("bucket %q: %d requests", bucket, n)
			}
		}
	})
}

// everyOther returns rows of which a picky store refuses every other one.
func everyOther(n int) (all, good []pingline.Entry) {
	all = fleet(1, n)
	for i := range all {
		if i%2 == 0 {
			all[i].Trip = "odd"
		} else {
			good = append(good, all[i])
		}
	}
	return all, good
}

// picky is a store that refuses odd trips until it is put right. A field type
// conflict, which is such a cause, cannot be put right in InfluxDB from outside.
func picky(t *testing.T) (influx *influx.Bucket, right *atomic.Bool, taken func() []string) {
	right = new(atomic.Bool)
	influx, rows := forgiving(t, func(line string) string {
		if !right.Load() && strings.Contains(line, `trip="odd"`) {
			return "field type conflict: trips are numbers here"
		}
		return ""
	})
	return influx, right, func() (list []string) {
		rows.Range(func(line, _ any) bool { list = append(list, line.(string)); return true })
		slices.Sort(list)
		return list
	}
}

// stoppedBy waits until Stats give the reason of a shard's halt.
func stoppedBy(t *testing.T, s *Sink, reason, note string) {
	t.Helper()
	eventually(t, "the operator is told", func() bool {
		notes := s.Notes()
		return s.Stats()[0].Stopped == reason && len(notes) == 1 && strings.Contains(notes[0], note)
	})
}

// A cause that every other row has stops the lane before the dead letters fill
// up. It goes on by itself once that is put right.
func TestTooManyRefusedStopsTheLane(t *testing.T) {
	influx, right, taken := picky(t)
	all, good := everyOther(3000)
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	w.commit(all...)
	stoppedBy(t, s, health.StopRefusals, "1500 now")
	eventually(t, "the others are written", func() bool { return s.Stats()[0].Written == 1500 })
	if st := s.Stats()[0]; st.DeadLettered() != 0 || st.Queued != 1500 || len(deadLettersOf(t, s)) != 0 {
		t.Errorf("while it stands: %+v", st)
	}
	if c, _ := w.log.Cursor(resume.LaneCursor("a", route.Live)); c.Next != 1 {
		t.Errorf("the cursor is at %d", c.Next)
	}
	sameLines(t, taken(), lines(good...))
	balanced(t, s, w)

	right.Store(true)
	drained(t, s)
	sameLines(t, taken(), lines(all...))
	balanced(t, s, w)
	if st := s.Stats()[0]; st.DeadLettered() != 0 || st.Stopped != "" || s.Notes() != nil {
		t.Errorf("%+v, notes %q", st, s.Notes())
	}
}

// Or the operator lets them go; rows that come then count anew.
func TestRefusalsAccepted(t *testing.T) {
	influx, _, taken := picky(t)
	all, good := everyOther(3000)
	w := testLog(t)
	s := testSink(t, w, influx, nil)
	start(t, s)
	w.commit(all...)
	stoppedBy(t, s, health.StopRefusals, "pingline deadletter accept")
	operator, err := deadletter.Open(s.cfg.DeadLetterDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := operator.Accept(t.Context(), "b", 10_000); err != nil { // another shard
		t.Fatal(err)
	}
	if err := operator.Accept(t.Context(), "a", 700); err != nil {
		t.Fatal(err)
	}
	stoppedBy(t, s, health.StopRefusals, "800 now")
	if n := len(deadLettersOf(t, s)); n != 700 {
		t.Errorf("%d dead letters, 700 were accepted", n)
	}
	if err := operator.Accept(t.Context(), "a", 800); err != nil {
		t.Fatal(err)
	}
	drained(t, s)
	sameLines(t, taken(), lines(good...))
	balanced(t, s, w)
	more, _ := everyOther(1000)
	w.commit(more...) // 500 of them refused: a few, for the shard's count begins here
	drained(t, s)
	if n := len(deadLettersOf(t, s)); n != 2000 {
		t.Errorf("%d dead letters, want 2000", n)
	}
	balanced(t, s, w)
}

// With the dead letters full the lane still asks whether the rows are taken
// after all.
func TestCausePutRightWhileDeadLettersAreFull(t *testing.T) {
	influx, right, taken := picky(t)
	all, _ := everyOther(200)
	w := testLog(t)
	s := testSink(t, w, influx, func(c *Config) { c.DeadLetterMaxBytes = 1000 })
	start(t, s)
	w.commit(all...)
	stoppedBy(t, s, health.StopFull, "pingline deadletter replay")
	some := deadLettersOf(t, s)
	if len(some) == 0 || len(some) > 10 {
		t.Errorf("%d letters fit", len(some))
	}
	right.Store(true)
	drained(t, s)
	if n := resubmit(t, s, w); n != len(some) {
		t.Errorf("%d letters are replayed, want %d", n, len(some))
	}
	drained(t, s)
	sameLines(t, taken(), lines(all...))
	balanced(t, s, w)
}

func TestDeadLettersThatCannotBeWritten(t *testing.T) {
	w := testLog(t)
	influx, _ := forgiving(t, func(line string) string {
		if strings.Contains(line, "event=") {
			return "no"
		}
		return ""
	})
	s := testSink(t, w, influx, nil)
	away := s.cfg.DeadLetterDir + ".away"
	if err := os.Rename(s.cfg.DeadLetterDir, away); err != nil {
		t.Fatal(err)
	}
	start(t, s)
	all := fleet(1, 100)
	all[50].Event = "sos"
	w.commit(all...)
	stoppedBy(t, s, health.StopDisk, "--data-dir")
	if err := os.Rename(away, s.cfg.DeadLetterDir); err != nil {
		t.Fatal(err)
	}
	drained(t, s)
	if len(deadLettersOf(t, s)) == 0 {
		t.Error("no dead letter")
	}
	balanced(t, s, w)
}

// A bucket that is made later is written to without a restart.
func TestMissingBucketMadeWithoutRestart(t *testing.T) {
	eachVersion(t, influxd.Config{}, func(t *testing.T, server *influxd.Server) {
		influx := testInflux(t, access(server, "later"))
		w := testLog(t)
		s := testSink(t, w, influx, nil)
		start(t, s)
		all := fleet(1, 500)
		w.commit(all...)
		stoppedBy(t, s, store.Missing, `"later"`)
		createBucket(t, server, "later", 0)
		drained(t, s)
		sameLines(t, stored(t, influx), lines(all...))
		if st := s.Stats()[0]; st.DeadLettered() != 0 || st.Stopped != "" {
			t.Errorf("%+v", st)
		}
	})
}

// A token that may not write is another trouble than one that is not known.
func TestTokenWithoutRights(t *testing.T) {
	eachVersion(t, withPasswords, func(t *testing.T, server *influxd.Server) {
		cfg := access(server, "pingline")
		cfg.Token = createToken(t, server, true, false)
		w := testLog(t)
		w.commit(fleet(1, 10)...)
		s := testSink(t, w, testInflux(t, cfg), nil)
		start(t, s)
		stoppedBy(t, s, store.Rights, "let the token write")
	})
}

// again runs server's InfluxDB with other settings on the same data and port.
func again(t *testing.T, server *influxd.Server, dir string, env ...string) {
	t.Helper()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	influxd.Run(t, influxd.Config{Version: server.Version(), Dir: dir, Port: port, Env: env})
}

// A limit of the database that is raised, with a restart of InfluxDB.
func TestLimitRaised(t *testing.T) {
	for name, env := range map[string]string{
		"max-values-per-tag":      "INFLUXDB_DATA_MAX_VALUES_PER_TAG=7",
		"max-series-per-database": "INFLUXDB_DATA_MAX_SERIES_PER_DATABASE=20",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			server := influxd.Run(t, influxd.Config{Version: 1, Dir: dir, Env: []string{env}})
			influx := testInflux(t, influx.Config{URL: server.URL()})
			w := testLog(t)
			s := testSink(t, w, influx, nil)
			start(t, s)
			some := fleet(1, 10) // tag values are counted only once they are there
			w.commit(some...)
			drained(t, s)
			more := fleet(2, 500)
			w.commit(more...)
			all := append(some, more...)
			stoppedBy(t, s, store.Limit, "raise "+name)
			balanced(t, s, w)
			again(t, server, dir, env+"000")
			drained(t, s)
			sameLines(t, stored(t, influx), lines(all...))
			if st := s.Stats()[0]; st.DeadLettered() != 0 || s.Notes() != nil {
				t.Errorf("%+v, notes %q", st, s.Notes())
			}
		})
	}
}

// A cache that is too small for a batch is trouble of InfluxDB's own: all is
// kept and tried again.
func TestCacheFullIsTriedAgain(t *testing.T) {
	for version, env := range map[int]string{1: "INFLUXDB_DATA_CACHE_MAX_MEMORY_SIZE", 2: "INFLUXD_STORAGE_CACHE_MAX_MEMORY_SIZE"} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dir := t.TempDir()
			server := influxd.Run(t, influxd.Config{Version: version, Dir: dir, Env: []string{env + "=10000"}})
			influx := testInflux(t, access(server, "pingline"))
			w := testLog(t)
			s := testSink(t, w, influx, nil)
			start(t, s)
			all := fleet(1, 5000)
			w.commit(all...)
			eventually(t, "InfluxDB says that it is full", func() bool {
				return strings.Contains(s.Stats()[0].LastError, "cache-max-memory-size exceeded")
			})
			if st := s.Stats()[0]; st.Stopped != "" || st.DeadLettered() != 0 || st.Queued != 5000 {
				t.Errorf("while it is full: %+v", st)
			}
			again(t, server, dir, env+"=100000000")
			drained(t, s)
			sameLines(t, stored(t, influx), lines(all...))
			if st := s.Stats()[0]; st.DeadLettered() != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	for _, tt := range []struct {
		attempt     int
		asked       time.Duration
		Least, most time.Duration
	}{
		{0, 0, 1, 250 * time.Millisecond},
		{3, 0, 1, 2 * time.Second},
		{9, 0, 1, 10 * time.Second},
		{1000, 0, 1, 10 * time.Second},
		{0, 4 * time.Second, 4 * time.Second, 5*time.Second + 1},
		{1000, time.Minute, time.Minute, 61*time.Second + 1},
	} {
		var sum time.Duration
		for range 1000 {
			d := backoff(tt.attempt, 10*time.Second, tt.asked)
			if d < tt.Least || d > tt.most {
				t.Fatalf("backoff(%d, 10s, %v) = %v, want [%v, %v]", tt.attempt, tt.asked, d, tt.Least, tt.most)
			}
			sum += d
		}
		if mean, want := sum/1000, (tt.Least+tt.most)/2; mean < want*8/10 || mean > want*12/10 {
			t.Errorf("backoff(%d, 10s, %v) is %v on average, want about %v: full jitter", tt.attempt, tt.asked, mean, want)
		}
	}
}
