package sink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/queue"
	"pingline/sink/deadletter"
	"pingline/sink/limit"
)

// lane carries what it owns from the log to its shard: one goroutine fills
// batches, and each of those that are full is delivered by another. A batch is
// tried until all of it is settled, that is written or in the dead letters; the
// cursor stands before the first batch that is not. A lane has at most
// limit.MaxInFlight batches on their way, within what its shard has room for, so that
// memory is bounded however long an outage lasts.
type lane struct {
	cfg     *Config
	sink    *Sink
	home    *shard
	kind    laneKind // whose entries
	class   laneKind // how they are served: as the kind, but for a hole
	name    string   // of its cursor
	dead    *deadletter.Dir
	batcher batcher
	reader  *queue.Reader // of the batcher
	parked  atomic.Bool   // it is closed for now
	slots   chan struct{} // one for each batch on its way
	first   chan struct{} // full while one of them has the memory that is the lane's own
	books   books

	mu      sync.Mutex
	settled queue.Cursor // before all that is not settled, as the log has it
	more    uint64       // passed beyond what the batcher counts: by holes, or corrected
	flight  []*leg       // in the order of the log
}

// leg is a batch on its way, or settled behind one that is.
type leg struct {
	cursor  queue.Cursor
	since   time.Time
	damaged uint64
	settled bool
}

func (s *Sink) newLane(i int, kind laneKind, at queue.Cursor) *lane {
	cfg, home := &s.cfg, s.shards[i]
	l := &lane{
		cfg:     cfg,
		sink:    s,
		home:    home,
		kind:    kind,
		class:   kind,
		name:    laneCursor(home.Name, kind),
		dead:    s.dead,
		slots:   make(chan struct{}, limit.MaxInFlight),
		first:   make(chan struct{}, 1),
		settled: at,
	}
	l.batcher = batcher{
		dealer: &s.dealer,
		mine:   ownerOf(i, kind),
		counts: i == 0 && kind.keepsAccounts(),
		total:  kind.total(),
		keyed:  cfg.HandOver > 0 && home.spread,
		router: &s.router,
		store:  home.Store,
		most:   cfg.BatchLines,
		bytes:  home.bytes,
		wait:   cfg.BatchWait,
		logger: cfg.Logger,
		done:   at,
	}
	if kind == critical {
		l.batcher.wait /= 10
	}
	if kind == live && cfg.JumpAfter > 0 {
		l.batcher.behind = l.behind
	}
	l.books = books{accounts: &home.books, total: kind.total(), read: at}
	return l
}

// run passes the log on until ctx ends, and returns nil, or until the log
// cannot be read. A hole ends when it is filled.
func (l *lane) run(ctx context.Context) error {
	g, passing := errgroup.WithContext(ctx)
	writing, cancel := outlive(passing, l.cfg.Grace)
	defer cancel()
	g.Go(func() error { return l.pass(passing, writing, g) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("sink: shard %s: %w", l.home.Name, err)
	}
	return nil
}

// pass fills batches and sends them on their way.
func (l *lane) pass(ctx, writing context.Context, g *errgroup.Group) error {
	l.read()
	defer func() { l.reader.Close() }()
	for {
		b := batches.Get().(*batch)
		b.reset()
		err := l.batcher.fill(ctx, b)
		l.home.account(b, err != nil)
		switch {
		case errors.Is(err, errEnd):
			return nil
		case errors.Is(err, errBehind):
			jumped, err := l.jump(ctx)
			if err != nil {
				return err
			}
			if jumped {
				l.reader.Close()
				l.read()
			}
			continue
		case err != nil:
			return err
		}
		l.books.filled(b)
		if b.len() == 0 {
			l.passed(b)
			l.home.account(b, true)
			batches.Put(b)
			continue
		}
		release, err := l.depart(ctx, b)
		l.home.account(b, err != nil)
		if err != nil {
			return err
		}
		leg := l.begin(b)
		g.Go(func() error {
			defer release()
			defer func() {
				l.home.account(b, true)
				batches.Put(b)
			}()
			if err := l.settle(ctx, writing, b); err != nil {
				return err
			}
			l.land(leg)
			return nil
		})
	}
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// errDeparted ends the wait for leave to go.
var errDeparted = errors.New("departed")

// depart waits until b may be on its way, and adds to it what comes meanwhile.
// What it returns gives back the memory b takes.
func (l *lane) depart(ctx context.Context, b *batch) (release func(), err error) {
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pooled bool
	go func() {
		select {
		case l.slots <- struct{}{}:
		case <-waiting.Done():
			return
		}
		var ok bool
		if pooled, ok = l.leave(waiting); ok {
			stop(errDeparted)
		}
	}()
	l.batcher.fillOn(waiting, b)
	l.home.account(b, false)
	l.park(waiting)
	if !errors.Is(context.Cause(waiting), errDeparted) {
		return nil, ctx.Err()
	}
	if !pooled {
		return func() { <-l.first }, nil
	}
	size := int64(len(b.rows))
	l.home.pool.Release(int64(l.batcher.bytes) - size)
	return func() { l.home.pool.Release(size) }, nil
}

// read has the batcher read on from where it is.
func (l *lane) read() {
	l.reader = l.cfg.Log.Read(l.batcher.position())
	l.batcher.next = l.reader.Next
}

// parkAfter is how long a lane waits before it lets go of what is read ahead: a
// reader holds some mebibytes, and while a shard is down its lanes stand still
// for hours.
const parkAfter = time.Second

// park waits until ctx ends.
func (l *lane) park(ctx context.Context) {
	timer := time.NewTimer(parkAfter)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
	}
	l.reader.Close()
	l.parked.Store(true)
	<-ctx.Done()
	l.parked.Store(false)
	l.read()
}

// leave waits for the memory of a batch: the one that each lane may have on its
// way whatever the others do, or a part of the shard's pool. It reports false if
// ctx ended.
func (l *lane) leave(ctx context.Context) (pooled, ok bool) {
	most := int64(l.batcher.bytes)
	if l.home.pool.TryAcquire(most) {
		return true, true
	}
	acquiring, cancel := context.WithCancel(ctx)
	defer cancel()
	acquired := make(chan error, 1)
	go func() { acquired <- l.home.pool.Acquire(acquiring, most) }()
	select {
	case err := <-acquired:
		return true, err == nil
	case l.first <- struct{}{}:
	}
	cancel()
	if <-acquired == nil { // both
		l.home.pool.Release(most)
	}
	return false, true
}

// begin notes that b is on its way.
func (l *lane) begin(b *batch) *leg {
	leg := &leg{cursor: b.cursor, since: b.since, damaged: b.damaged}
	l.books.took(b, &l.batcher)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flight = append(l.flight, leg)
	return leg
}

// passed notes that a batch without rows is settled. It rides with the one
// before it.
func (l *lane) passed(b *batch) {
	l.books.took(b, &l.batcher)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.flight); n > 0 {
		l.flight[n-1].cursor = b.cursor
		l.flight[n-1].damaged += b.damaged
		return
	}
	l.move(b.cursor, b.damaged)
}

// land notes that a batch is settled, and moves the cursor over all that now is.
func (l *lane) land(done *leg) {
	l.mu.Lock()
	defer l.mu.Unlock()
	done.settled = true
	for len(l.flight) > 0 && l.flight[0].settled {
		l.move(l.flight[0].cursor, l.flight[0].damaged)
		l.flight = l.flight[1:]
		<-l.slots
	}
}

// move sets the cursor; the caller holds mu.
func (l *lane) move(to queue.Cursor, damaged uint64) {
	to.Passed += l.more
	l.settled = to
	l.cfg.Log.SetCursor(l.name, to)
	l.books.damage(damaged)
}

// position returns the number of the first commit that is not all settled.
func (l *lane) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settled.Next
}

// correct adds to what the lane has passed: damage, or less than that.
func (l *lane) correct(by uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.more += by
	l.move(queue.Cursor{Next: l.settled.Next, Totals: l.settled.Totals, Passed: l.settled.Passed - l.more + by}, by)
}

// landed waits until nothing is on its way. The only error is ctx's.
func (l *lane) landed(ctx context.Context) error {
	for n := range cap(l.slots) {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			for range n {
				<-l.slots
			}
			return ctx.Err()
		}
	}
	for range cap(l.slots) {
		<-l.slots
	}
	return nil
}

// outlive returns a context that ends grace after ctx does, or when cancelled.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-ctx.Done():
		case <-longer.Done():
			return
		}
		defer cancel()
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-longer.Done():
		}
	}()
	return longer, cancel
}
