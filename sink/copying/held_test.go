package copying_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"pingline"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// shortLatch notes for how long rows waited.
type shortLatch struct {
	began time.Time
	waits []time.Duration
}

func (l *shortLatch) Watch() {}

func (l *shortLatch) Hold(int64, int64) (came [][2]int64, release func(), err error) {
	l.began = time.Now()
	return nil, func() { l.waits = append(l.waits, time.Since(l.began)) }, nil
}

// slowEraser does not end its first deletion.
type slowEraser struct {
	*influx.Bucket
	t     *testing.T
	calls int
}

func (s *slowEraser) EraseUnit(ctx context.Context, u store.Unit) error {
	if s.calls++; s.calls > 1 {
		return s.Bucket.EraseUnit(ctx, u)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		s.t.Error("a deletion may go on when rows come again")
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

// A deletion that takes longer than rows wait is broken off before they come again, and tried again.
func TestDeletionEndsBeforeRowsCome(t *testing.T) {
	from, to := twoBuckets(t, 1)
	list := storetest.Days(60)
	for i := range list {
		list[i].Cell = list[0].Cell
	}
	write(t, from, list...)
	const held = 3 * time.Second
	var latch shortLatch
	slow := &slowEraser{Bucket: from, t: t}
	c, plan := newCopier(t, copying.Config{From: slow, To: []copying.Target{{Store: to}}, Shared: true, Latch: &latch, MostHeld: held, Refused: none(t)})
	copies(t, c, plan)
	if err := c.Delete(t.Context(), plan, func(u copying.Unit, why string) { t.Errorf("%v is kept: %s", u, why) }); err != nil {
		t.Fatal(err)
	}
	if slow.calls != len(plan)+1 || len(latch.waits) == 0 || latch.waits[0] < held {
		t.Errorf("%d deletions of %d pieces; rows waited %v, and a store may go on with a deletion for %v", slow.calls, len(plan), latch.waits, held)
	}
	if n := len(stored(t, from)); n > 0 {
		t.Errorf("%d rows are left", n)
	}
}

// ownedTarget counts writes of a node that may have lost its log.
type ownedTarget struct {
	*influx.Bucket
	lost   *atomic.Bool
	astray atomic.Int64
}

func (s *ownedTarget) Write(ctx context.Context, rows store.Rows) error {
	if s.lost.Load() {
		s.astray.Add(1)
	}
	return s.Bucket.Write(ctx, rows)
}

// A node whose hold on its log ran out while a batch waited does not write it: a rider may have been removed meanwhile.
func TestCopyStandsWithoutHold(t *testing.T) {
	from, to := twoBuckets(t, 1)
	list := storetest.Days(900)
	write(t, from, list...)
	var lost atomic.Bool
	looks := 0
	target := &ownedTarget{Bucket: to, lost: &lost}
	lose := func(*pingline.Entry) int { lost.Store(looks == 0); return 0 } // rows are read, and none is written yet
	held := func() time.Duration {
		if !lost.Load() {
			return time.Second
		}
		if looks++; looks == 3 {
			lost.Store(false)
		}
		return -time.Second
	}
	c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: target}}, Owner: lose, BatchRows: 300, Readers: 1, Writers: 1, Gauges: copying.Gauges{Held: held}, Refused: none(t)})
	copies(t, c, plan)
	if n := target.astray.Load(); n > 0 || looks < 3 {
		t.Errorf("%d batches were written without a hold; it was looked at %d times", n, looks)
	}
}
