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
	"pingline/sink/batch"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// lane carries its entries from the log to its shard: one goroutine fills batches,
// and a goroutine for each full batch delivers it. A batch is tried until each of
// its rows is written or a dead letter; the cursor stands before the first batch
// that is not delivered. A lane has at most limit.MaxInFlight batches in flight,
// within the shard's room, so that memory is bounded however long an outage lasts.
type lane struct {
	cfg       *Config
	sink      *Sink
	home      *shard
	kind      route.LaneKind // of its entries
	class     route.LaneKind // class of its writes: the same as kind, except for a hole
	name      string         // of its cursor
	dead      *deadletter.Dir
	batcher   batch.Batcher
	reader    *queue.Reader // of the batcher
	parked    atomic.Bool   // it is closed for now
	permits   chan struct{} // a token for each batch in flight
	ownMemory chan struct{} // full while a batch in flight has the memory that is the lane's own
	progress  *progress
	halt      *health.Halt

	// mu guards the fields below. The mutex of the live lane is taken before
	// the mutex of its shard's holes, that of a lane which fills a hole after
	// it.
	mu        sync.Mutex
	delivered queue.Cursor // before the first commit that is not delivered, as the log has it
	extra     uint64       // passed beyond the batcher's count: by holes, or corrected
	inFlight  []*inFlight  // in the order of the log
}

// inFlight is a batch that was dispatched and is not delivered, or waits for an
// earlier batch to be delivered.
type inFlight struct {
	cursor    queue.Cursor
	since     time.Time
	damaged   uint64
	givenUp   uint64 // rows that were not written
	delivered bool
}

func (s *Sink) newLane(i int, kind route.LaneKind, at queue.Cursor) *lane {
	cfg, home := &s.cfg, s.shards[i]
	l := &lane{
		cfg:       cfg,
		sink:      s,
		home:      home,
		kind:      kind,
		class:     kind,
		name:      resume.LaneCursor(home.qualified, kind),
		dead:      s.dead,
		permits:   make(chan struct{}, maxWrites(kind, home.Store)),
		ownMemory: make(chan struct{}, 1),
		delivered: at,
	}
	l.batcher = batch.Batcher{
		Routes: s.routes,
		Lane:   route.LaneIDOf(i, kind),
		Counts: i == 0 && kind.CountsDamage(),
		Total:  kind.Total(),
		Keyed:  cfg.HandOver > 0 && home.spread,
		Router: &s.router,
		Store:  home.Store,
		Most:   cfg.BatchLines,
		Bytes:  home.bytes,
		Wait:   cfg.BatchWait,
		Erased: cfg.Erased,
		Fence:  cfg.Until,
		Logger: cfg.Logger,
		Done:   at,
	}
	if kind == route.Critical {
		l.batcher.Wait /= 10
	}
	if kind == route.Live && cfg.JumpAfter > 0 {
		l.batcher.Behind = l.behind
	}
	l.halt = health.NewHalt(home.Name, kind.String(), cfg.Logger)
	l.progress = newProgress(&home.counters, kind.Total(), at)
	return l
}

// run carries entries until ctx ends, and returns nil, or until the log cannot
// be read. A hole ends when it is filled.
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

// pass fills batches and dispatches them.
func (l *lane) pass(ctx, writing context.Context, g *errgroup.Group) error {
	l.read()
	defer func() { l.reader.Close() }()
	for {
		b := batches.Get().(*batch.Encoded)
		b.Reset()
		err := l.batcher.Fill(ctx, b)
		l.home.account(b, err != nil)
		switch {
		case errors.Is(err, batch.ErrEnd):
			return nil
		case errors.Is(err, batch.ErrBehind):
			skipped, err := l.skipToHead(ctx)
			if err != nil {
				return err
			}
			if skipped {
				l.reader.Close()
				l.read()
			}
			continue
		case err != nil:
			return err
		}
		l.progress.filled(b)
		if b.Len() == 0 {
			l.completeEmpty(b)
			l.home.account(b, true)
			batches.Put(b)
			continue
		}
		release, err := l.acquire(ctx, b)
		l.home.account(b, err != nil)
		if err != nil {
			return err
		}
		sent := l.dispatch(b)
		g.Go(func() error {
			defer release()
			defer func() {
				l.home.account(b, true)
				batches.Put(b)
			}()
			if err := l.deliver(ctx, writing, b); err != nil {
				return err
			}
			l.complete(sent, b.GivenUp)
			return nil
		})
	}
}

var batches = sync.Pool{New: func() any { return new(batch.Encoded) }}

// errAcquired ends the wait of acquire.
var errAcquired = errors.New("acquired")

// acquire waits until b may be in flight, and meanwhile adds new entries to
// it. The caller calls release to give back the memory of b.
func (l *lane) acquire(ctx context.Context, b *batch.Encoded) (release func(), err error) {
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var pooled bool
	go func() {
		select {
		case l.permits <- struct{}{}:
		case <-waiting.Done():
			return
		}
		var ok bool
		if pooled, ok = l.acquireMemory(waiting); ok {
			stop(errAcquired)
		}
	}()
	l.batcher.FillOn(waiting, b)
	l.home.account(b, false)
	l.park(waiting)
	if !errors.Is(context.Cause(waiting), errAcquired) {
		return nil, ctx.Err()
	}
	if !pooled {
		return func() { <-l.ownMemory }, nil
	}
	size := int64(len(b.Rows))
	l.home.pool.Release(int64(l.batcher.Bytes) - size)
	return func() { l.home.pool.Release(size) }, nil
}

// read has the batcher read on from where it is.
func (l *lane) read() {
	l.reader = l.cfg.Log.Read(l.batcher.Position())
	l.batcher.Next = l.reader.Next
}

// parkAfter is how long a lane waits before it closes its reader: a reader holds some mebibytes, and while a shard is down its lanes stand still
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

// acquireMemory waits for the memory of a batch: a part of the shard's pool, or the
// batch that each lane may have in flight beside the pool. It reports false if ctx
// ended.
func (l *lane) acquireMemory(ctx context.Context) (pooled, ok bool) {
	most := int64(l.batcher.Bytes)
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
	case l.ownMemory <- struct{}{}:
	}
	cancel()
	if <-acquired == nil { // both
		l.home.pool.Release(most)
	}
	return false, true
}

// dispatch counts b as in flight.
func (l *lane) dispatch(b *batch.Encoded) *inFlight {
	sent := &inFlight{cursor: b.Cursor, since: b.Since, damaged: b.Damaged}
	l.progress.dispatched(b, &l.batcher)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight = append(l.inFlight, sent)
	return sent
}

// completeEmpty counts a batch without rows as delivered, together with the
// batch before it.
func (l *lane) completeEmpty(b *batch.Encoded) {
	l.progress.dispatched(b, &l.batcher)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.inFlight); n > 0 {
		l.inFlight[n-1].cursor = b.Cursor
		l.inFlight[n-1].damaged += b.Damaged
		return
	}
	l.move(b.Cursor, b.Damaged, 0)
}

// complete counts a batch as delivered, but for the rows that were given up, and moves the
// cursor behind the delivered batches.
func (l *lane) complete(done *inFlight, givenUp uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	done.delivered, done.givenUp = true, givenUp
	for len(l.inFlight) > 0 && l.inFlight[0].delivered {
		l.move(l.inFlight[0].cursor, l.inFlight[0].damaged, l.inFlight[0].givenUp)
		l.inFlight = l.inFlight[1:]
		<-l.permits
	}
}

// move sets the cursor; the caller holds mu.
func (l *lane) move(to queue.Cursor, damaged, givenUp uint64) {
	to.Passed += l.extra
	l.delivered = to
	if givenUp > 0 {
		l.sink.lack(l, to, givenUp)
	} else {
		l.cfg.Log.SetCursor(l.name, to)
	}
	l.progress.damage(damaged)
}

// position returns the number of the first commit that is not delivered
// completely.
func (l *lane) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delivered.Next
}

// correct adds to the count of damaged entries that the lane has passed; by wraps
// around to subtract.
func (l *lane) correct(by uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.extra += by
	l.move(queue.Cursor{Next: l.delivered.Next, Totals: l.delivered.Totals, Passed: l.delivered.Passed - l.extra + by}, by, 0)
}

// drain waits until no batch is in flight. The only error is ctx's.
func (l *lane) drain(ctx context.Context) error {
	for n := range cap(l.permits) {
		select {
		case l.permits <- struct{}{}:
		case <-ctx.Done():
			for range n {
				<-l.permits
			}
			return ctx.Err()
		}
	}
	for range cap(l.permits) {
		<-l.permits
	}
	return nil
}
