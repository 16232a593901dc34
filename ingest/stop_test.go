package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/queue"
)

// countdown is a context that is cancelled when it has been asked so many times
// whether it is.
type countdown struct {
	context.Context
	left atomic.Int64
	end  func()
	on   atomic.Bool // it counts
}

func newCountdown(left int64) *countdown {
	c := new(countdown)
	c.Context, c.end = context.WithCancel(context.Background())
	c.left.Store(left)
	return c
}

func (c *countdown) count() {
	if c.on.Load() && c.left.Add(-1) < 0 {
		c.end()
	}
}

func (c *countdown) Done() <-chan struct{} { c.count(); return c.Context.Done() }
func (c *countdown) Err() error            { c.count(); return c.Context.Err() }

// onMessage calls do for each message that begins with text.
type onMessage struct {
	slog.Handler
	text string
	do   func()
}

func (h onMessage) Enabled(context.Context, slog.Level) bool { return true }
func (h onMessage) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.text) {
		h.do()
	}
	return nil
}

// failAppend has the next append fail, and what is asked of the log until Settle.
func (s *site) failAppend() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, _, _ = s.log.Settle(gone, nil)
}

// The writer is told to stop at every point between a failed append and the end
// of the reload: what was answered stands, and what was refused is judged afresh
// when it is sent again.
func TestStopAtEveryPointOfARecovery(t *testing.T) {
	pings := madeUp(5, 40)
	const sent, refused = 150, 25
	for at := int64(0); ; at++ {
		s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
		s.queue.CacheBytes = 1 // so that the log is read from its files
		s.send(pings[:50], 10)
		s.stop()
		s.start()
		s.send(pings[50:sent], 10)
		ctx := newCountdown(at)
		s.writer.cfg.Logger = slog.New(onMessage{slog.DiscardHandler, "append failed", func() { ctx.on.Store(true) }})
		s.failAppend()
		done := make(chan error, 1)
		go func() { done <- s.writer.Run(ctx) }()
		j := &Job{Pings: pings[sent : sent+refused]}
		for i := range j.Pings {
			j.Cells = append(j.Cells, testCells.Of(&j.Pings[i].Fix))
		}
		if err := s.writer.Submit(j); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("the request whose commit failed: %v, want ErrUnavailable", err)
		}
		var ended error
		for ended = context.Canceled; s.writer.Stats().Reloads == 0 && errors.Is(ended, context.Canceled); {
			select {
			case ended = <-done:
			case <-time.After(time.Millisecond):
			}
		}
		reached := s.writer.Stats().Reloads > 0 && ctx.Context.Err() == nil
		if ctx.end(); errors.Is(ended, context.Canceled) {
			ended = <-done
		}
		if ended != nil {
			t.Fatalf("stopped at point %d: Run = %v", at, ended)
		}
		if err := s.log.Close(); err != nil {
			t.Fatal(err)
		}
		s.start()
		s.sendAgain(pings[:sent], 25)
		s.send(pings[sent:], 25)
		s.flush()
		s.audit()
		if t.Failed() {
			t.Fatalf("stopped at point %d", at)
		}
		if err := s.log.Close(); err != nil {
			t.Fatal(err)
		}
		if reached {
			t.Logf("%d points", at)
			return
		}
	}
}

// The log takes less than what a stop has to store: what it does not take stays
// held in it, and no state is saved that has let go of it.
func TestStopThatStoresHalf(t *testing.T) {
	s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
	const riders = flushPings + 1000
	for i := range riders {
		j := job(fmt.Sprint("r-", i), time.Now().UnixMilli()-2000, 2)
		s.send(j.Pings, 2)
	}
	if s.writer.filter.Holding() != riders {
		t.Fatalf("%d pings are held, want %d", s.writer.filter.Holding(), riders)
	}
	flushed, last := 0, s.log.Last()
	s.writer.cfg.ObserveCommit = func(time.Duration, int) {
		if flushed++; flushed == 1 {
			s.failAppend()
		}
	}
	s.stop()
	list, err := statefile.List(s.cfg.Dir)
	if err != nil || flushed != 1 {
		t.Fatalf("%d commits of 2 were stored, %v", flushed, err)
	}
	for _, path := range list {
		if path > s.writer.checkpoint.path(last+1) {
			t.Errorf("checkpoint %s after a stop that stored half; commit %d was the last before it", path, last)
		}
	}
	s.cfg.ObserveCommit = nil
	s.start()
	if n := s.writer.filter.Holding(); n == 0 || n == riders {
		t.Errorf("%d of %d pings are held by the log", n, riders)
	}
	s.flush()
	s.audit()
}

// The writer told to stop takes no more jobs, whatever waits.
func TestStoppedWriterTakesNoJobs(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, err := OpenWriter(context.Background(), WriterConfig{Log: log, Filter: dedupe.DefaultConfig()})
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 100)
	for i := range cap(errs) {
		go func() { errs <- w.Submit(job(fmt.Sprint("r-", i), t0, 3)) }()
	}
	eventually(t, "all jobs wait", func() bool { return w.Waiting() == cap(errs) })
	w.putOff = true
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, ErrUnavailable) {
			t.Fatalf("a job that waited when the writer was stopped: %v, want ErrUnavailable", err)
		}
	}
	if n := log.Last(); n != 0 {
		t.Errorf("%d commits after the stop", n)
	}
}

// A job that comes after the stop is told of it, though the queue has room.
func TestStoppedWriterSaysSo(t *testing.T) {
	w, stop := testWriter(t, WriterConfig{Log: testLog(t, queue.Config{})})
	stop()
	for range 50 {
		if err := w.Submit(job("r", t0, 1)); !errors.Is(err, ErrStopped) {
			t.Fatalf("Submit after the stop: %v, want %v", err, ErrStopped)
		}
	}
}

// A job may be used again after any answer, at once.
func TestJobUsedAgainWhileItIsWithdrawn(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, err := OpenWriter(context.Background(), WriterConfig{Log: log, Filter: dedupe.DefaultConfig(), Patience: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	j, taken, withdrawn := job("r-1", t0, 20), 0, 0
	for i := 0; taken < 10 || withdrawn < 10; i++ {
		for k := range j.Pings {
			j.Pings[k].At = t0 + int64(20*i+k)*1000
		}
		switch err := w.Submit(j); {
		case err == nil:
			if taken++; len(j.Verdicts) != 20 {
				t.Fatalf("%d verdicts", len(j.Verdicts))
			}
		case errors.Is(err, ErrUnavailable):
			withdrawn++
		default:
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}
