package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/partition"
	"pingline/queue"
)

// testLog opens a log that lives as long as the test.
func testLog(t testing.TB, cfg queue.Config) *queue.Log {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	log, err := queue.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close the log: %v", err)
		}
	})
	return log
}

// testWriter opens and runs a writer until the test ends or stop is called.
func testWriter(t testing.TB, cfg WriterConfig) (w *Writer, stop func()) {
	t.Helper()
	if cfg.Filter.MaxRiders == 0 {
		cfg.Filter = dedupe.DefaultConfig()
	}
	w, err := OpenWriter(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the writer failed: %v", err)
		}
	})
	t.Cleanup(stop)
	return w, stop
}

var testCells, _ = partition.NewCells(5)

// job is pings of rider, one a second from at, each far from the one before.
func job(rider string, at int64, n int) *Job {
	j := new(Job)
	for i := range n {
		p := pingline.Ping{Rider: rider, Fix: pingline.Fix{At: at + int64(i)*1000}}
		if err := p.SetPosition(41+float64(i%2)/1000, -8-float64(i)/1000); err != nil {
			panic(err)
		}
		j.Pings = append(j.Pings, p)
		j.Cells = append(j.Cells, testCells.Of(&p.Fix))
	}
	return j
}

func submit(t testing.TB, w *Writer, j *Job) {
	t.Helper()
	if err := w.Submit(j); err != nil {
		t.Fatalf("Submit(%d pings): %v", len(j.Pings), err)
	}
}

// submitAgain is submit for a log that may not answer at once.
func submitAgain(t testing.TB, w *Writer, j *Job) {
	t.Helper()
	for {
		err := w.Submit(j)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("Submit(%d pings): %v", len(j.Pings), err)
		}
	}
}

// entries reads the whole log.
func entries(t testing.TB, log *queue.Log) (list []pingline.Entry) {
	t.Helper()
	if log.Last() < log.First() || log.Last() == 0 {
		return nil
	}
	r := log.Read(log.First())
	defer r.Close()
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			t.Fatalf("read the log: %v", err)
		}
		_, es, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		for {
			var e pingline.Entry
			ok, err := es.Next(&e)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			list = append(list, e)
		}
		if rec.Number >= log.Last() {
			return list
		}
	}
}

func stored(list []pingline.Entry) (n int) {
	for i := range list {
		if list[i].Stored() {
			n++
		}
	}
	return n
}

const t0 = 1_760_000_000_000

func TestVerdictsAreOnDiskWhenAnswered(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	j := job("r-1", t0, 50)
	submit(t, w, j)
	var want, got [pingline.Verdicts]int
	for _, v := range j.Verdicts {
		want[v]++
	}
	if want[pingline.Held] != 1 || want[pingline.Accepted] != 49 {
		t.Errorf("verdicts %v of a zigzag, want 49 accepted and the last one held", j.Verdicts)
	}
	list := entries(t, log)
	for i := range list {
		if !list[i].Promoted {
			got[list[i].Verdict]++
		}
		if list[i].Cell == 0 {
			t.Errorf("entry %d has no cell", i)
		}
	}
	if n := got[pingline.Accepted] + got[pingline.Held] + got[pingline.Redundant]; n != 50 {
		t.Errorf("the log holds %d of 50 pings", n)
	}
	if n := stored(list); n != want[pingline.Accepted] {
		t.Errorf("the log stores %d pings, the answer says %d", n, want[pingline.Accepted])
	}
}

func TestResentRequestAddsNothing(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	submit(t, w, job("r-1", t0, 50))
	last := log.Last()
	again := job("r-1", t0, 50)
	submit(t, w, again)
	for i, v := range again.Verdicts {
		if v != pingline.Duplicate && v != pingline.Redundant {
			t.Errorf("ping %d sent again is %v", i, v)
		}
	}
	if n := stored(entries(t, log)); n != 49 {
		t.Errorf("%d pings are stored after the same 50 were sent twice, want 49", n)
	}
	if log.Last() > last+1 {
		t.Errorf("the second request took %d commits", log.Last()-last)
	}
}

// Many send at once; what each is told is in the log, and the counts agree.
func TestConcurrentRequests(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, stop := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	const senders, requests, pings = 16, 20, 25
	var wg sync.WaitGroup
	for s := range senders {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for r := range requests {
				j := job(fmt.Sprint("r-", s), t0+int64(r)*pings*1000, pings)
				if err := w.Submit(j); err != nil {
					t.Errorf("sender %d, request %d: %v", s, r, err)
				}
			}
		}()
	}
	wg.Wait()
	stop()
	st := w.Stats()
	total := uint64(0)
	for _, n := range st.Verdicts {
		total += n
	}
	if total != senders*requests*pings {
		t.Errorf("%d verdicts for %d pings", total, senders*requests*pings)
	}
	if st.Holding != 0 {
		t.Errorf("%d pings are held after the writer stopped", st.Holding)
	}
	if got, want := uint64(stored(entries(t, log))), st.Verdicts[pingline.Accepted]+st.Promoted; got != want {
		t.Errorf("the log stores %d pings, the counts say %d", got, want)
	}
	if got, want := log.LastTotals()[pingline.TotalStored], st.Verdicts[pingline.Accepted]+st.Promoted; got != want {
		t.Errorf("the log's running total is %d, the counts say %d", got, want)
	}
}

func TestRestartRemembers(t *testing.T) {
	dir := t.TempDir()
	log := testLog(t, queue.Config{})
	cfg := WriterConfig{Log: log, Dir: dir, Bound: dedupe.Bound{MaxError: 10}}
	w, stop := testWriter(t, cfg)
	submit(t, w, job("r-1", t0, 50))
	stop()
	list, err := statefile.List(dir)
	if err != nil || len(list) != 1 {
		t.Fatalf("checkpoints after a clean stop: %v, %v", list, err)
	}
	before := stored(entries(t, log))
	w, _ = testWriter(t, cfg)
	again := job("r-1", t0, 50)
	submit(t, w, again)
	for i, v := range again.Verdicts {
		if v != pingline.Duplicate && v != pingline.Redundant {
			t.Errorf("ping %d sent again after the restart is %v", i, v)
		}
	}
	if after := stored(entries(t, log)); after != before {
		t.Errorf("%d pings stored before the restart, %d after the same were sent again", before, after)
	}
}

func TestFullLogRefusesAndKeepsNothing(t *testing.T) {
	log := testLog(t, queue.Config{MaxBytes: 4 << 20})
	w, _ := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 0}})
	var err error
	sent := 0
	for ; err == nil && sent < 1000; sent++ {
		err = w.Submit(job("r-1", t0+int64(sent)*1_000_000, 1000))
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Fatalf("after %d requests: %v, want ErrUnavailable", sent, err)
	}
	if w.Unready() == "" {
		t.Error("ready with a full log")
	}
	if n := w.Stats().Reloads; n != 0 {
		t.Errorf("a full log made the writer reload %d times", n)
	}
	last := log.Last()
	log.SetCursor("reader", queue.Cursor{Next: last + 1, Totals: log.LastTotals()})
	log.SetCursor(FilterCursor, queue.Cursor{Next: last + 1, Totals: log.LastTotals()})
	if err := log.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	if err := log.TrimKept(); err != nil {
		t.Fatal(err)
	}
	j := job("r-1", t0+int64(sent)*1_000_000, 1000)
	submit(t, w, j)
	for i, v := range j.Verdicts {
		if v == pingline.Duplicate {
			t.Fatalf("ping %d is called a duplicate though it was refused before", i)
		}
	}
}

// An append whose answer is late: the request is refused, and whether it landed
// or not, there is one history afterwards.
func TestUnclearAppend(t *testing.T) {
	for _, tt := range []struct {
		name   string
		landed bool
	}{
		{"it landed, its answer was lost", true},
		{"it was on its way all the time", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newProxy(t, natsServer(t))
			log := testLog(t, queue.Config{URL: p.url(), AppendTimeout: time.Second})
			w, _ := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
			submitAgain(t, w, job("r-1", t0, 10)) // a busy disk may take longer than the limit
			if tt.landed {
				p.holdAnswers(true)
			} else {
				p.holdRequests(true)
			}
			if err := w.Submit(job("r-1", t0+10_000, 10)); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("Submit with no answer from the log: %v, want ErrUnavailable", err)
			}
			if w.Unready() == "" {
				t.Error("ready while the log does not answer")
			}
			p.holdAnswers(false)
			p.holdRequests(false)
			submitAgain(t, w, job("r-1", t0+10_000, 10))
			if w.Stats().Reloads == 0 {
				t.Error("the state was not read anew")
			}
			// What stands in the log is one history: every ping once, each number once.
			seen := map[int64]int{}
			list := entries(t, log)
			for i := range list {
				if !list[i].Promoted {
					seen[list[i].At]++
				}
			}
			for i := range 20 {
				if n := seen[t0+int64(i)*1000]; n != 1 && !(n == 2 && tt.landed) {
					t.Errorf("ping %d is %d times in the log", i, n)
				}
			}
			st := w.Stats()
			if got, want := log.LastTotals()[pingline.TotalStored], st.StartTotals[pingline.TotalStored]+st.Verdicts[pingline.Accepted]+st.Promoted; got != want {
				t.Errorf("the log's running total is %d, the accounts say %d", got, want)
			}
		})
	}
}

// A duplicate that races its original is answered after the original is durable.
func TestDuplicateWaitsForItsOriginal(t *testing.T) {
	p := newProxy(t, natsServer(t))
	log := testLog(t, queue.Config{URL: p.url(), AppendTimeout: time.Minute})
	w, _ := testWriter(t, WriterConfig{Log: log, Patience: time.Minute, Bound: dedupe.Bound{MaxError: 10}})
	submit(t, w, job("r-0", t0, 1))
	p.holdRequests(true)
	var durable atomic.Bool
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := w.Submit(job("r-1", t0, 1)); err != nil {
				t.Error(err)
			}
			if !durable.Load() {
				t.Error("one was answered while nothing could be durable")
			}
		})
	}
	eventually(t, "the commit is on its way", p.heldRequest)
	durable.Store(true)
	p.holdRequests(false)
	both.Wait()
	st := w.Stats()
	if st.Verdicts[pingline.Duplicate] != 1 {
		t.Errorf("verdicts %v, want one duplicate", st.Verdicts)
	}
}

// selfPoint returns a count of the node itself.
func selfPoint(n int64) pingline.Entry {
	return pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{
		Name: "pingline", Tags: []pingline.Tag{{Key: "node", Value: "a"}}, Fields: []pingline.PointField{pingline.Int("received", n)}, At: 1,
	}}
}

// Entries that need no judging become durable behind the pings, the filter does not
// see them, and each is counted by its kind.
func TestEntriesGoAroundTheFilter(t *testing.T) {
	log := testLog(t, queue.Config{})
	cfg := WriterConfig{Log: log, Dir: t.TempDir(), Bound: dedupe.Bound{MaxError: 10}}
	w, stop := testWriter(t, cfg)
	again := pingline.Entry{
		Ping: pingline.Ping{Rider: "r-2", Event: "sos", Fix: pingline.Fix{At: t0, LatE7: 410000000}},
		Cell: 0x8539220ffffffff, Skipped: 3, Verdict: pingline.Accepted, Late: true, Apart: true, Kind: pingline.Replayed, To: "b",
	}
	list := []pingline.Entry{
		selfPoint(1),
		{Kind: pingline.Self, Line: "pingline,node=a received=1i 1"},
		{Kind: pingline.Replayed, To: "b", Line: "location,rider=r lat=1,lon=2 3"},
		again,
		{Kind: pingline.Activity, Line: strings.Repeat("l", pingline.MaxReadyLine)},
	}
	submit(t, w, job("r-1", t0, 3))
	submit(t, w, &Job{Entries: list})
	st := w.Stats()
	if st.Replayed != 2 || st.Lines != 3 {
		t.Errorf("counted %d replayed and %d points, want 2 and 3", st.Replayed, st.Lines)
	}
	var got []pingline.Entry
	for _, e := range entries(t, log) {
		if e.Kind != pingline.Judged {
			got = append(got, e)
		}
	}
	if !slices.EqualFunc(got, list, func(a, b pingline.Entry) bool { return a.Equal(&b) }) {
		t.Errorf("the log holds %+v, want %+v", got, list)
	}
	stop()
	if w, _ = testWriter(t, cfg); w.Stats().Riders != 1 {
		t.Errorf("%d riders are known after a restart, want 1", w.Stats().Riders)
	}
	if got, want := log.LastTotals(), (queue.Totals{pingline.TotalStored: 5, pingline.TotalPings: 3, pingline.TotalLines: 3}); got != want {
		t.Errorf("running totals %v, want %v", got, want)
	}
	large := selfPoint(1)
	large.Point.Tags[0].Value = strings.Repeat("v", pingline.MaxPoint/2)
	nameless, far := again, again
	nameless.Rider, far.To = "", strings.Repeat("s", pingline.MaxName+1)
	for want, e := range map[string]pingline.Entry{
		"ready line of 0 bytes, not in [1, 4096]":    {Kind: pingline.Self},
		"ready line of 4097 bytes, not in [1, 4096]": {Kind: pingline.Self, Line: strings.Repeat("l", pingline.MaxReadyLine+1)},
		"bytes, more than 4096":                      large,
		"rider_id: length 0":                         nameless,
		"a name of 65 bytes, more than 64":           far,
		"by way of the filter":                       {Ping: again.Ping},
	} {
		if err := w.Submit(&Job{Entries: []pingline.Entry{e}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Submit: %v, want %q", err, want)
		}
	}
}

// Every entry carries the sub-key its ping was given when it was judged, one that
// is stored later as well.
func TestEntriesCarryTheirSubKey(t *testing.T) {
	shards, err := partition.NewShards(partition.Shard{Name: "a"}, partition.Shard{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	sent := job("r-1", t0, 3)
	cell := sent.Cells[0]
	keys, err := partition.NewKeys(partition.KeyConfig{Shards: shards, Splits: map[uint64]int{cell: 64}})
	if err != nil {
		t.Fatal(err)
	}
	log := testLog(t, queue.Config{})
	w, stop := testWriter(t, WriterConfig{Log: log, Keys: keys, Bound: dedupe.Bound{MaxError: 10}})
	submit(t, w, sent)
	stop()
	seen := map[uint16]int{}
	for _, e := range entries(t, log) {
		seen[e.SubKey]++
	}
	if len(seen) != 1 || seen[0] > 0 || seen[keys.Of(cell, "r-1", time.Now())] != 5 {
		t.Errorf("sub-keys and entries %v, want one for the 3 pings and the 2 that were held first", seen)
	}
}

func TestRequestThatFitsNoCommit(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, WriterConfig{Log: log})
	if err := w.Submit(job("r-1", t0, maxJobPings+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Submit of %d pings: %v, want ErrTooLarge", maxJobPings+1, err)
	}
}

// BenchmarkSubmit is the accept path: decoded pings until they are durable.
func BenchmarkSubmit(b *testing.B) {
	four, err := pingline.NewAttrs(pingline.Float("fuel", 0.4), pingline.Float("load", 1200), pingline.Text("door", "open"), pingline.Bool("idle", false))
	if err != nil {
		b.Fatal(err)
	}
	for _, pings := range []int{1, 100, 1000} {
		benchmarkSubmit(b, fmt.Sprint(pings), pings, "")
		benchmarkSubmit(b, fmt.Sprint(pings, "-attrs"), pings, four)
	}
}

func benchmarkSubmit(b *testing.B, name string, pings int, attrs pingline.Attrs) {
	b.Run(name, func(b *testing.B) {
		log := testLog(b, queue.Config{})
		w, stop := testWriter(b, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
		const riders = 10_000
		names := make([]string, riders)
		for i := range names {
			names[i] = fmt.Sprintf("r-%06d", i)
		}
		b.ReportAllocs()
		b.SetParallelism(32)
		var next sync.Mutex
		round := int64(0)
		b.RunParallel(func(pb *testing.PB) {
			j := job("", t0, pings)
			for pb.Next() {
				next.Lock()
				round++
				r := round
				next.Unlock()
				for i := range j.Pings {
					k := r*int64(pings) + int64(i)
					j.Pings[i].Rider, j.Pings[i].Attrs = names[k%riders], attrs
					j.Pings[i].At = t0 + k/riders*5000
				}
				if err := w.Submit(j); err != nil {
					b.Error(err)
					return
				}
			}
		})
		stop()
		b.ReportMetric(float64(b.N*pings)/b.Elapsed().Seconds(), "pings/s")
		b.ReportMetric(float64(b.N)/float64(w.Stats().Commits), "requests/commit")
	})
}
