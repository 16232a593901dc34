package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
	"pingline/sim/audit"
	"pingline/track/tracktest"
)

// Whole files sent again, in the same requests and in others, and each request
// sent twice in a row, add no point and are answered duplicate or redundant; or
// accepted, if they are late: then the same point is written again.
func TestSentAgainAddsNothing(t *testing.T) {
	for _, file := range append([]tracktest.Habit{"made up"}, tracktest.Kinds...) {
		t.Run(string(file), func(t *testing.T) {
			pings := madeUp(10, 300)
			if file != "made up" {
				pings = tracksOf(t, file)
			}
			for _, batch := range []int{1000, 700} {
				t.Run(fmt.Sprintf("in requests of %d", batch), func(t *testing.T) {
					s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
					for request := range slices.Chunk(pings, batch) {
						s.send(request, batch)
						s.sendAgain(request, batch)
					}
					s.sendAgain(pings, batch)
					s.sendAgain(pings, 1700-batch)
					s.flush()
					s.sendAgain(pings, batch)
					s.flush()
					s.audit()
				})
			}
		})
	}
}

// sendAgain sends what was sent before.
func (s *site) sendAgain(pings []pingline.Ping, batch int) {
	s.t.Helper()
	s.write()
	points, stored, counts := len(s.store), s.log.LastTotals()[pingline.TotalStored], s.counts
	late := 0
	for i := range pings {
		p := &pings[i]
		if _, ok := s.store[pointAt(&pingline.Entry{Ping: *p, Cell: testCells.Of(&p.Fix), Late: true, Apart: true})]; ok {
			late++
		}
	}
	s.send(pings, batch)
	s.write()
	if len(s.store) != points || s.log.LastTotals()[pingline.TotalStored] > stored+uint64(late) {
		s.t.Errorf("%d pings sent again are %d points more, written %d times", len(pings), len(s.store)-points, s.log.LastTotals()[pingline.TotalStored]-stored)
	}
	for v := range s.counts {
		switch n := s.counts[v] - counts[v]; {
		case n == 0, pingline.Verdict(v) == pingline.Duplicate, pingline.Verdict(v) == pingline.Redundant:
		case pingline.Verdict(v) == pingline.Accepted && n <= late:
		default:
			s.t.Errorf("%d of %d pings sent again are %v, %d were late", n, len(pings), pingline.Verdict(v), late)
		}
	}
}

// However often appends fail, with the answer lost, the request late or lost,
// every answer given holds: what was refused is judged afresh, and what was
// promised before is remembered.
func TestBoundHoldsThroughFailedAppends(t *testing.T) {
	p := newProxy(t, natsServer(t))
	log := testLog(t, queue.Config{URL: p.url(), AppendTimeout: 300 * time.Millisecond})
	w, stop := testWriter(t, WriterConfig{
		Log: log, Dir: t.TempDir(), Bound: dedupe.Bound{MaxError: 10}, CheckpointEntries: 500,
		Logger: slog.New(slog.DiscardHandler),
	})
	s := &site{t: t, log: log, store: map[point]pingline.Entry{}, ledger: audit.NewLedger()}
	log.SetCursor(siteCursor, queue.Cursor{Next: 1})

	const riders, senders = 20, 5
	pings := madeUp(riders, 1200)
	var answered atomic.Int64
	var done sync.WaitGroup
	for n := range senders {
		var own []pingline.Ping
		for i := range pings {
			if i%riders%senders == n {
				own = append(own, pings[i])
			}
		}
		done.Go(func() {
			for request := range slices.Chunk(own, 10) {
				j := deliver(t, w, request)
				for i := range request {
					s.ledger.Add(&request[i], j.Verdicts[i], float32(j.Bound.MaxError), float32(j.Bound.AccuracyCap))
				}
				answered.Add(int64(len(request)))
			}
		})
	}
	failing := func() bool { return w.Failing() }
	faults := []func(){
		func() { p.holdAnswers(true); eventually(t, "an append fails", failing); p.holdAnswers(false) },
		func() { p.holdRequests(true); eventually(t, "an append fails", failing); p.holdRequests(false) },
		func() { p.holdRequests(true); eventually(t, "an append is on its way", p.heldRequest); p.cut() },
	}
	for n := range uint64(6) {
		eventually(t, "pings are answered", func() bool { return answered.Load() >= int64(n+1)*2000 })
		faults[n%3]()
		eventually(t, "the state is read anew", func() bool { return w.Stats().Reloads > n })
	}
	done.Wait()
	stop()
	s.audit()
}

// deliver sends a request as phones do: again until it is answered.
func deliver(t *testing.T, w *Writer, pings []pingline.Ping) *Job {
	for {
		j := &Job{Pings: pings, Cells: make([]uint64, len(pings))}
		err := w.Submit(j)
		if err == nil {
			return j
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Error(err)
			return j
		}
	}
}

// eventually waits until done holds, for as long as a busy machine may take.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}
