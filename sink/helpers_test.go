package sink

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/queue"
)

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

func commit(entries ...pingline.Entry) []byte {
	return commitAt(recently+time.Minute.Milliseconds(), entries...)
}

// commitAt is a commit that was written at, ms.
func commitAt(at int64, entries ...pingline.Entry) []byte {
	h := pingline.CommitHeader{Node: "test", At: at, Entries: uint32(len(entries))}
	payload := pingline.AppendCommitHeader(nil, &h)
	for i := range entries {
		payload = pingline.AppendEntry(payload, &entries[i], h.At)
	}
	return payload
}

// recently is a time of pings that no retention policy of the tests reaches. The
// minutes that follow are of one hour, and so of one day and week: InfluxDB's
// shards are such, and what collides in one does not in two.
var recently = func() int64 {
	at := time.Now().UTC().Add(-30 * time.Minute)
	if at.Minute() >= 55 {
		at = at.Add(-10 * time.Minute)
	}
	return at.UnixMilli()
}()

// fleet returns n accepted entries, a second apart, of ten riders, with all
// sorts of fields, known and unknown.
func fleet(seed uint64, n int) []pingline.Entry {
	rnd := rand.New(rand.NewPCG(seed, 0))
	list := make([]pingline.Entry, n)
	for i := range list {
		e := &list[i]
		e.Verdict, e.Cell = pingline.Accepted, 0x8539220ffffffff-uint64(rnd.IntN(20))<<20
		e.Rider = fmt.Sprintf("rider-%d-%d", seed, i%10)
		e.At = recently + int64(i)
		if err := e.SetPosition(rnd.Float64()*180-90, rnd.Float64()*360-180); err != nil {
			panic(err)
		}
		for k, most := range [...]float64{1000, 360, 1e6, 1e5, 1} {
			if rnd.IntN(2) == 0 {
				e.SetOptional(1<<k, rnd.Float64()*most)
			}
		}
		if rnd.IntN(4) == 0 {
			e.Device, e.Trip = "phone:2", "trip@"+e.Rider
		}
		e.Late = rnd.IntN(8) == 0
		e.Skipped = rnd.Uint32N(3)
	}
	return list
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

// lines returns the stored entries as sorted line protocol.
func lines(entries ...pingline.Entry) []string {
	var list []string
	for i := range entries {
		if entries[i].Stored() {
			list = append(list, string(pingline.AppendLine(nil, &entries[i])))
		}
	}
	slices.Sort(list)
	return list
}

// stored reads all points back from InfluxDB.
func stored(t testing.TB, c *Influx) []string {
	t.Helper()
	var list []string
	all := Query{From: math.MinInt64 / 1_000_000, To: math.MaxInt64 / 1_000_000}
	err := c.Points(context.Background(), all, func(e *pingline.Entry) error {
		list = append(list, string(pingline.AppendLine(nil, e)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func sameLines(t testing.TB, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	t.Errorf("%d lines are stored, want %d", len(got), len(want))
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("the first that differs is\n%swant\n%s", got[i], want[i])
		}
	}
}

// eachVersion runs test with a real 1.8 and with a real 2.x. cfg may have
// settings of both; its Token is that of 1.8.
func eachVersion(t *testing.T, cfg influxd.Config, test func(t *testing.T, server *influxd.Server)) {
	t.Helper()
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			mine := cfg
			if mine.Version = version; version == 2 {
				mine.Token = ""
			}
			test(t, influxd.Run(t, mine))
		})
	}
}

// access is how the owner of server gets to one of its buckets.
func access(server *influxd.Server, bucket string) InfluxConfig {
	return InfluxConfig{URL: server.URL(), Org: server.Org(), Token: server.Token(), Bucket: bucket}
}

func createBucket(t testing.TB, server *influxd.Server, name string, keep time.Duration) {
	t.Helper()
	if err := server.CreateBucket(context.Background(), name, keep); err != nil {
		t.Fatal(err)
	}
}

func createToken(t testing.TB, server *influxd.Server, read, write bool) string {
	t.Helper()
	token, err := server.CreateToken(context.Background(), server.Bucket(), read, write)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func testInflux(t testing.TB, cfg InfluxConfig) *Influx {
	t.Helper()
	if cfg.Bucket == "" {
		cfg.Bucket = "pingline"
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	c, err := NewInflux(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// execute runs InfluxQL as an operator would.
func execute(t testing.TB, c *Influx, iql string) {
	t.Helper()
	db, _, _ := strings.Cut(c.cfg.Bucket, "/")
	if err := c.query(context.Background(), http.MethodPost, map[string][]string{"q": {iql}, "db": {db}}, nil); err != nil {
		t.Fatalf("%s: %v", iql, err)
	}
}

// testSink returns a sink into influx that retries fast.
func testSink(t testing.TB, w *writer, influx *Influx, change func(*Config)) *Sink {
	t.Helper()
	cfg := Config{
		Log:           w.log,
		Shards:        []Shard{{Name: "a", Influx: influx}},
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
			if m := cursorName.FindStringSubmatch(name); m != nil && (m[2] == own.String()) == (total == pingline.TotalLines) {
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

// deadLettersOf reads what a sink put aside.
func deadLettersOf(t testing.TB, s *Sink) (list []DeadLetter) {
	t.Helper()
	for l, err := range s.dead.All() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, *l)
	}
	return list
}

// script is a server that answers writes as told: for faults that the real
// InfluxDB cannot be made to show. The lines of each write are sent to answer.
func script(t testing.TB, answer func(w http.ResponseWriter, lines []string)) *Influx {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := gunzip(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, slices.Collect(strings.Lines(string(body))))
	}))
	t.Cleanup(server.Close)
	return testInflux(t, InfluxConfig{URL: server.URL})
}

func gunzip(r io.Reader) ([]byte, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(z)
	return b.Bytes(), err
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
