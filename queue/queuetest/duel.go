package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pingline/queue"
)

// duelist is an owner that appends as fast as it can, until the log is another's.
type duelist struct {
	*queue.Log
	claim uint64 // number of the record by which it has the log
	trims bool
	stop  context.CancelFunc
	acked map[uint64]string // by number
	done  chan error        // its end
}

// duel has one owner of a log after another, each of which believes that the log is its own still
// when the next has taken it, in the middle of appends, trims and settling. None has an append
// acknowledged once the next has claimed the log, and nothing that was acknowledged is lost or
// moved.
func duel(t *testing.T, cfg queue.Config, rounds int) {
	acked := map[uint64]string{}
	appends, began := 0, time.Now()
	was := begin(t, cfg, 0)
	for round := 1; round <= rounds; round++ {
		many := was.claim + 1 + uint64(rand.IntN(20))
		for was.Last() < many && len(was.done) == 0 {
			time.Sleep(time.Millisecond)
		}
		next := begin(t, cfg, round)
		// It finds out by itself.
		if err := <-was.done; !errors.Is(err, queue.ErrOwned) {
			t.Fatalf("owner %d ended with %v", round-1, err)
		}
		for n, text := range was.acked {
			if n >= next.claim {
				t.Fatalf("record %d was acknowledged to owner %d, the next has claimed the log by record %d", n, round-1, next.claim)
			}
			if had, ok := acked[n]; ok {
				t.Fatalf("record %d was acknowledged as %q and as %q", n, had, text)
			}
			acked[n] = text
		}
		appends += len(was.acked)
		check(t, next, acked)
		shut(t, was.Log)
		was = next
		if round%100 == 0 {
			t.Logf("%d duels in %v, %d appends are acknowledged", round, time.Since(began).Round(time.Second), appends)
		}
	}
	was.stop()
	if err := <-was.done; err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("the last owner ended with %v", err)
	}
	for n, text := range was.acked {
		acked[n] = text
	}
	check(t, was, acked)
	whole(t, was.Log)
	t.Logf("%d duels, %d appends were acknowledged, none is lost", rounds, appends+len(was.acked))
}

func begin(t *testing.T, cfg queue.Config, round int) *duelist {
	t.Helper()
	cfg.MaxBytes, cfg.CacheBytes, cfg.Lease = 64<<20, 1, Patience
	o := &duelist{Log: takeOver(t, cfg, fmt.Sprint("o", round)), acked: map[uint64]string{}, done: make(chan error, 1), trims: rand.IntN(2) == 0}
	if err := o.Claim(testContext(t), []byte("claim")); err != nil {
		t.Fatal(err)
	}
	if list := o.Damage(); len(list) > 0 {
		t.Fatalf("owner %d found damage: %v", round, list)
	}
	o.claim = o.Last()
	ctx, stop := context.WithCancel(testContext(t))
	o.stop = stop
	go func() { o.done <- o.run(ctx, round) }()
	return o
}

func (o *duelist) run(ctx context.Context, round int) error {
	for i := 0; ctx.Err() == nil; i++ {
		text := fmt.Sprint("owner ", round, " append ", i)
		n, err := o.Append(context.WithoutCancel(ctx), []byte(text), queue.Totals{}, false)
		if err == nil {
			if o.acked[n] = text; o.trims && i%10 == 9 {
				o.SetCursor("reader", queue.Cursor{Next: n - 5})
				_, err = o.Drop()
			}
		}
		if err == nil {
			continue
		}
		if _, _, err := o.Settle(ctx, []byte("settled")); err != nil {
			return err
		}
	}
	return nil
}

// check reads the log as its owner does, and compares it with what was acknowledged, which it
// forgets where it is trimmed.
func check(t *testing.T, o *duelist, acked map[uint64]string) {
	t.Helper()
	last := o.Last()
	r := o.Read(o.First())
	defer r.Close()
	seen := uint64(0)
	for seen < last {
		rec, err := r.Next(testContext(t))
		if err != nil {
			t.Fatalf("reading at %d: %v", seen, err)
		}
		if seen > 0 && rec.Number != seen+1 && rec.Number > o.First() {
			t.Fatalf("record %d follows %d, and the log begins at %d", rec.Number, seen, o.First())
		}
		if want, ok := acked[rec.Number]; ok && string(rec.Payload) != want {
			t.Fatalf("record %d is %q, acknowledged was %q", rec.Number, rec.Payload, want)
		}
		seen = rec.Number
	}
	for n := range acked {
		if n < o.First() {
			delete(acked, n)
		}
		if n > last {
			t.Fatalf("record %d was acknowledged, and the log ends at %d", n, last)
		}
	}
}
