package sink

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/deadletter"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/resume"
	"pingline/sink/route"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// The tests' stores are InfluxDB, real and scripted.
var (
	recently    = storetest.Recently
	fleet       = storetest.Fleet
	held        = storetest.Held
	commit      = storetest.Commit
	commitAt    = storetest.CommitAt
	eachVersion = influxtest.EachVersion
	access      = influxtest.Access
	testInflux  = influxtest.Open
	script      = influxtest.Script
	lines       = influxtest.Lines
	stored      = influxtest.Stored
	sameLines   = influxtest.SameLines
	write       = influxtest.Write
	appendLine  = influx.AppendLine

	createBucket = influxtest.CreateBucket
	createToken  = influxtest.CreateToken
)

// testRows encodes rows and cannot be written to.
var testRows = func() store.Store {
	b, err := influx.New(influx.Config{URL: "http://127.0.0.1:1", Bucket: "none"})
	if err != nil {
		panic(err)
	}
	return b
}()

// withPasswords is a server that wants credentials.
var withPasswords = influxd.Config{Token: "admin:secret"}

// writer appends commits to a log as the ingester does.
type writer struct {
	t      testing.TB
	log    *queue.Log
	totals queue.Totals
}

func testLog(t testing.TB) *writer {
	t.Helper()
	log, err := queue.Open(context.Background(), queue.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return &writer{t: t, log: log}
}

var quiet = slog.New(slog.DiscardHandler)

// commit appends one commit of entries.
func (w *writer) commit(entries ...pingline.Entry) {
	w.t.Helper()
	w.append(commit(entries...), entries...)
}

func (w *writer) append(payload []byte, entries ...pingline.Entry) {
	w.t.Helper()
	for i := range entries {
		switch e := &entries[i]; {
		case e.Kind != pingline.Judged && !e.Stored():
			w.totals[pingline.TotalLines]++
		case e.Stored():
			w.totals[pingline.TotalStored]++
		}
		if entries[i].Kind == pingline.Judged && !entries[i].Promoted {
			w.totals[pingline.TotalPings]++
		}
	}
	if _, err := w.log.Append(context.Background(), payload, w.totals, false); err != nil {
		w.t.Fatal(err)
	}
}

// mixed is a fleet with something for every lane that stores pings.
func mixed(seed uint64, n int) []pingline.Entry {
	list := fleet(seed, n)
	for i := range list {
		switch {
		case i%8 == 3:
			list[i].Event = "trip_start"
		case i%8 >= 6:
			list[i].At -= time.Hour.Milliseconds()
		}
	}
	return list
}

// testSink returns a sink into influx that retries fast.
func testSink(t testing.TB, w *writer, to store.Store, change func(*Config)) *Sink {
	t.Helper()
	cfg := Config{
		Log:           w.log,
		Shards:        []ShardStore{{Name: "a", Store: to}},
		BatchWait:     10 * time.Millisecond,
		RetryMax:      200 * time.Millisecond,
		JumpAfter:     -1,
		DeadLetterDir: filepath.Join(t.TempDir(), "deadletter"),
		Logger:        quiet,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start runs s until the test ends or stop is called, which waits for it.
func start(t testing.TB, s *Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when asked to stop", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits until ok, for as long as a busy machine may take.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// drained waits until every lane has come to the end of the log.
func drained(t testing.TB, s *Sink) {
	t.Helper()
	eventually(t, "all is passed", func() bool {
		for _, st := range s.Stats() {
			for _, l := range st.Lanes {
				if l.Behind > 0 {
					return false
				}
			}
		}
		return true
	})
}

// balanced checks that each entry has one fate, and that once all lanes are at
// the end their cursors have counted each entry once.
func balanced(t testing.TB, s *Sink, w *writer) {
	t.Helper()
	a, head := s.Account(), w.log.Head()
	for total, y := range map[int]Tally{pingline.TotalStored: a.Pings, pingline.TotalLines: a.Lines} {
		if all := y.Start + y.Written + y.DeadLettered + y.Damaged + y.Queued; all != head.Totals[total] {
			t.Errorf("%d of total %d are accounted for, want %d: %+v", all, total, head.Totals[total], y)
		}
		if y.Queued > 0 {
			continue
		}
		var passed uint64
		for name, at := range w.log.Cursors() {
			if m := resume.CursorName.FindStringSubmatch(name); m != nil && (m[2] == route.Own.String()) == (total == pingline.TotalLines) {
				passed += at.Passed
			}
		}
		if passed != head.Totals[total] {
			t.Errorf("the cursors have passed %d of total %d, want %d", passed, total, head.Totals[total])
		}
	}
}

// cursorAt checks where the only lane would go on.
func cursorAt(t testing.TB, w *writer, next uint64) {
	t.Helper()
	if c, ok := w.log.Cursor("sink-a-live"); !ok || c.Next != next {
		t.Errorf("the cursor is %+v, %v, want it at %d", c, ok, next)
	}
}

// rowOf returns the row of a letter in InfluxDB.
func rowOf(l deadletter.Letter) string { return string(testRows.AppendRow(nil, &l.Entry)) }

// deadLettersOf reads the dead letters of a sink.
func deadLettersOf(t testing.TB, s *Sink) (list []deadletter.Letter) {
	t.Helper()
	for l, err := range s.dead.All() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, *l)
	}
	return list
}

// noLeaks checks that none of our goroutines outlives Run.
func noLeaks(t testing.TB) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	eventually(t, "all goroutines of the sink end", func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "sink.(*lane)") && !strings.Contains(all, "sink.(*Sink)") && !strings.Contains(all, "sink.outlive")
	})
}

// spread spreads pings evenly over shards of these names.
func spread(t testing.TB, names ...string) *partition.Shards {
	t.Helper()
	var list []partition.Shard
	for _, name := range names {
		list = append(list, partition.Shard{Name: name})
	}
	s, err := partition.NewShards(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
