package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
)

// atLevel is an Overload that stays at a level.
func atLevel(level int) *Overload {
	o := NewOverload(OverloadConfig{})
	o.Force(level, false, "a test")
	return o
}

func TestBoundWidensWithTheLevel(t *testing.T) {
	for level, want := range []float64{10, 20, 40, 40, 40} {
		log := testLog(t, queue.Config{})
		w, _ := testWriter(t, WriterConfig{Log: log, Overload: atLevel(level), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
		j := job("r", t0, 1)
		j.Pings[0].Event = "sos"
		submit(t, w, j)
		if j.Bound != (dedupe.Bound{MaxError: want, AccuracyCap: 50}) {
			t.Errorf("level %d: answered with %+v, want %v and 50", level, j.Bound, want)
		}
		r := log.Read(1)
		rec, err := r.Next(context.Background())
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := pingline.DecodeCommit(rec.Payload)
		if err != nil || h.MaxError != float32(want) || h.AccuracyCap != 50 {
			t.Errorf("level %d: logged with %v and %v (%v), want %v and 50", level, h.MaxError, h.AccuracyCap, err, want)
		}
	}
	w, _ := testWriter(t, WriterConfig{Log: testLog(t, queue.Config{}), Overload: atLevel(2)})
	j := job("r", t0, 1)
	submit(t, w, j)
	if j.Bound.MaxError != 0 {
		t.Errorf("max_error %v though all is to be kept", j.Bound.MaxError)
	}
}

// A ping that is 15 m off the line is stored at level 0 and dropped at 1.
func TestFewerPingsAreKeptAtLevel1(t *testing.T) {
	for level, want := range []int{3, 2} {
		log := testLog(t, queue.Config{})
		w, stop := testWriter(t, WriterConfig{Log: log, Overload: atLevel(level), Bound: dedupe.Bound{MaxError: 10}})
		j := &Job{}
		for i, lat := range []float64{41, 41 + 15/111_195.0, 41} {
			p := pingline.Ping{Rider: "r", Fix: pingline.Fix{At: t0 + int64(i)*1000}}
			if err := p.SetPosition(lat, -8); err != nil {
				t.Fatal(err)
			}
			j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, 1)
		}
		submit(t, w, j)
		stop()
		if n := stored(entries(t, log)); n != want {
			t.Errorf("level %d: %d of 3 pings are stored, want %d", level, n, want)
		}
	}
}

func TestCloseBehindTheNewestIsShedAtLevel3(t *testing.T) {
	log := testLog(t, queue.Config{})
	o := atLevel(0)
	w, _ := testWriter(t, WriterConfig{Log: log, Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	first := job("r", t0, 1)
	submit(t, w, first)
	o.Force(3, false, "a test")
	at := func(ms int64, event string) (p pingline.Ping) {
		p = job("r", t0+ms, 1).Pings[0]
		p.Event = event
		if ms != 0 { // elsewhere
			p.LatE7 += int32(ms)
		}
		return p
	}
	j := &Job{
		Pings: []pingline.Ping{
			at(0, ""), at(1000, ""), at(29_999, ""), at(-60_000, ""), at(5000, "sos"),
			at(30_000, ""), at(35_000, ""), at(40_000, ""), at(64_999, ""), at(70_000, ""), at(70_000, ""),
		},
		Cells: make([]uint64, 11),
	}
	j.Pings = append(j.Pings, job("other", t0, 1).Pings[0])
	j.Cells = append(j.Cells, 1)
	submit(t, w, j)
	const a, r, d, s = pingline.Accepted, pingline.Redundant, pingline.Duplicate, pingline.Shed
	want := []pingline.Verdict{d, s, s, s, a, s, r, s, s, a, d, a}
	for i, v := range j.Verdicts {
		if ok := v == want[i] || want[i] == r && v == a; !ok { // the bound decides
			t.Errorf("ping %d (%+d ms) is %v, want %v", i, j.Pings[i].At-t0, v, want[i])
		}
	}
	var logged []int64
	for _, e := range entries(t, log) {
		if !e.Promoted && e.Rider == "r" {
			logged = append(logged, e.At-t0)
		}
	}
	if want := []int64{0, 5000, 35_000, 70_000}; !slices.Equal(logged, want) {
		t.Errorf("the log holds pings of %v ms, want %v", logged, want)
	}
	if n := w.Stats().Verdicts[pingline.Shed]; n != 6 {
		t.Errorf("%d pings are counted as shed, want 6", n)
	}
}

// At the last level a job's events are stored, its other pings are shed unless
// they were seen before, and a job without events is refused.
func TestOnlyEventsAtTheLastLevel(t *testing.T) {
	log := testLog(t, queue.Config{})
	o := atLevel(0)
	w, _ := testWriter(t, WriterConfig{Log: log, Overload: o, Bound: dedupe.Bound{MaxError: 10}})
	submit(t, w, job("r", t0, 1))
	o.Force(4, false, "a test")
	j := job("r", t0, 3)
	j.Pings[2].Event = "sos"
	submit(t, w, j)
	if want := []pingline.Verdict{pingline.Duplicate, pingline.Shed, pingline.Accepted}; !slices.Equal(j.Verdicts, want) {
		t.Errorf("verdicts %v, want %v", j.Verdicts, want)
	}
	if err := w.Submit(job("other", t0, 3)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a job without events: %v, want ErrUnavailable", err)
	}
	if _, err := w.RiderState("r"); err != nil {
		t.Errorf("a look at a rider, which adds nothing: %v", err)
	}
	if err := w.Submit(&Job{Entries: []pingline.Entry{selfPoint(1)}}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a point: %v, want ErrUnavailable", err)
	}
}

// A full log takes events from its reserve, and held pings from the last of it;
// when that is gone too, both wait, and the log is never taken for broken.
func TestReserveOfAFullLog(t *testing.T) {
	log := testLog(t, queue.Config{MaxBytes: 4 << 20})
	cfg := WriterConfig{Log: log, Overload: atLevel(0), Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}}
	cfg.Filter.IdleFlush = time.Millisecond
	w, err := OpenWriter(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(j *Job, flush bool) error {
		if j != nil {
			if err := w.prepare(j); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.commitOne(t.Context(), j, flush); err != nil {
			t.Fatalf("commit with %d of %d bytes in the log: %v", log.Bytes(), log.Limit(), err)
		}
		if j == nil {
			return nil
		}
		return <-j.done
	}
	n := int64(0)
	next := func(pings int, event string) *Job {
		n++
		j := job(fmt.Sprint("r-", n), t0, pings)
		j.Pings[0].Event = event
		return j
	}
	for err == nil { // a ping of every other rider is held
		j := next(2, "")
		for range 250 {
			more := next(2, "")
			j.Pings, j.Cells = append(j.Pings, more.Pings...), append(j.Cells, more.Cells...)
		}
		err = commit(j, false)
	}
	for _, size := range []int{50, 1} {
		for err = nil; err == nil; {
			err = commit(next(size, ""), false)
		}
	}
	if !errors.Is(err, ErrUnavailable) || log.Room() > 2000 {
		t.Fatalf("%v with room for %d bytes", err, log.Room())
	}
	for err, n = nil, n+1; err == nil; {
		j := next(10, "sos")
		if err = commit(j, false); err == nil && (j.Verdicts[0] != pingline.Accepted || j.Verdicts[9] != pingline.Shed) {
			t.Fatalf("verdicts %v of an event and nine pings with a full log", j.Verdicts)
		}
	}
	left := log.Limit() - log.Bytes()
	if !errors.Is(err, ErrUnavailable) || left > log.Limit()*2/100 || left < log.Limit()/100 {
		t.Errorf("events are refused (%v) with %d bytes left of %d, want 1 to 2 %%", err, left, log.Limit())
	}
	was := w.filter.Holding()
	for range 200 {
		if err := commit(nil, true); err != nil {
			t.Fatal(err)
		}
	}
	if now := w.filter.Holding(); now >= was || now == 0 {
		t.Errorf("%d of %d held pings are left after flushing into what was left, want fewer, and some", now, was)
	}
	if w.Stats().Reloads != 0 {
		t.Errorf("the log was taken for broken")
	}
}

func TestUrgentJobsGoFirst(t *testing.T) {
	p := newProxy(t, natsServer(t))
	log := testLog(t, queue.Config{URL: p.url(), AppendTimeout: time.Minute})
	w, _ := testWriter(t, WriterConfig{Log: log, Patience: time.Minute, Bound: dedupe.Bound{MaxError: 10}})
	submit(t, w, job("r-0", t0, 1))
	p.holdRequests(true)
	done := make(chan error, 10)
	send := func(j *Job) { go func() { done <- w.Submit(j) }() }
	send(job("under-way", t0, 1))
	eventually(t, "a job is taken", p.heldRequest)
	for i := range 5 {
		send(job(fmt.Sprint("crowd-", i), t0, 1))
	}
	eventually(t, "five jobs wait", func() bool { return w.waiting.len() == 5 })
	urgent := job("in-need", t0, 1)
	urgent.Urgent = true
	send(urgent)
	eventually(t, "an urgent job waits", func() bool { return w.waiting.len() == 6 })
	p.holdRequests(false)
	for range 7 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	list := entries(t, log)
	at := slices.IndexFunc(list, func(e pingline.Entry) bool { return e.Rider == "in-need" })
	crowd := 0
	for _, e := range list[:max(at, 0)] {
		if strings.HasPrefix(e.Rider, "crowd-") {
			crowd++
		}
	}
	if at < 0 || crowd > 1 { // the writer may have had one in its hands
		t.Errorf("%d of the 5 that waited were stored before the urgent one (at %d)", crowd, at)
	}
}

func TestMemoryAsksForTheLastLevel(t *testing.T) {
	o := NewOverload(OverloadConfig{Log: testLog(t, queue.Config{})})
	o.look(time.Now())
	if o.Level() != 0 || o.Tight() {
		t.Fatalf("level %d, tight %v before", o.Level(), o.Tight())
	}
	was := debug.SetMemoryLimit(1 << 20)
	defer debug.SetMemoryLimit(was)
	o.look(time.Now())
	notes := strings.Join(o.Notes(), "\n")
	if o.Level() != 4 || !o.Tight() || !o.Policy().NoReads || !strings.Contains(notes, "memory") {
		t.Errorf("level %d, tight %v, reads refused %v, notes %q with all memory in use", o.Level(), o.Tight(), o.Policy().NoReads, notes)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	now := time.Now()
	for range 5 {
		now = now.Add(31 * time.Second)
		o.look(now)
	}
	if o.Level() != 0 || o.Tight() || len(o.Notes()) > 0 {
		t.Errorf("level %d, tight %v, notes %q after", o.Level(), o.Tight(), o.Notes())
	}
}

func TestBreakerAsksForLevel1(t *testing.T) {
	open := true
	o := NewOverload(OverloadConfig{Log: testLog(t, queue.Config{}), Signals: func() Signals { return Signals{Open: open} }})
	now := time.Now()
	for _, step := range []struct {
		after int // seconds
		open  bool
		want  int
	}{{0, true, 0}, {29, true, 0}, {2, true, 1}, {600, true, 1}, {1, false, 1}, {31, false, 0}, {1, true, 0}, {29, true, 0}, {1, true, 1}} {
		now, open = now.Add(time.Duration(step.after)*time.Second), step.open
		o.look(now)
		if o.Level() != step.want {
			t.Errorf("level %d %v later, breaker open: %v; want %d", o.Level(), step.after, step.open, step.want)
		}
	}
}

// Memory that reads take is no reason to refuse pings.
func TestReadsAreNoReasonToShed(t *testing.T) {
	o := NewOverload(OverloadConfig{})
	was := debug.SetMemoryLimit(1 << 40)
	defer debug.SetMemoryLimit(was)
	before := o.memory()
	used, _ := memoryInUse()
	o.LeaveOut(func() int64 { return used / 2 })
	if now := o.memory(); before == 0 || now > before*3/4 {
		t.Errorf("%v of the limit is in use, %v without what reads take", before, now)
	}
}
