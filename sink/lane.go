package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"pingline"
	"pingline/queue"
)

// lane carries what one shard is to store from the log to the shard: a
// goroutine that fills batches, and one that writes them. While one batch is on
// its way the next is being filled, and no more: memory is bounded by two
// batches however long an outage lasts. A batch is tried until all of it is
// settled, that is written or in the dead letters; then the cursor moves.
type lane struct {
	cfg     *Config
	shard   Shard
	name    string // of its cursor
	breaker *breaker
	dead    *deadLetters
	batcher batcher
	books   books
}

func (s *Sink) newLane(i int) *lane {
	cfg := &s.cfg
	l := &lane{
		cfg:     cfg,
		shard:   cfg.Shards[i],
		name:    "sink-" + cfg.Shards[i].Name + "-live",
		breaker: newBreaker(cfg.Shards[i].Name, cfg.RetryMax/2),
		dead:    &s.dead,
	}
	l.batcher = batcher{lines: cfg.BatchLines, bytes: cfg.BatchBytes, wait: cfg.BatchWait, logger: cfg.Logger}
	if route := cfg.Route; route != nil {
		l.batcher.mine = func(e *pingline.Entry) bool { return route(e) == i }
	} else if i > 0 {
		l.batcher.mine = func(*pingline.Entry) bool { return false }
	}
	cursor, known := cfg.Log.Cursor(l.name)
	if !known {
		// Kept at once, so that nothing is trimmed before it is read.
		cursor = queue.Cursor{Next: cfg.Log.First()}
		cfg.Log.SetCursor(l.name, cursor)
	}
	l.batcher.done, l.batcher.origin, l.batcher.fresh = cursor, cursor, !known
	l.books.start = cursor.Totals
	return l
}

// run passes the log on until ctx ends, and returns nil, or until the log
// cannot be read.
func (l *lane) run(ctx context.Context) error {
	free, full := make(chan *batch, 2), make(chan *batch)
	free <- new(batch)
	free <- new(batch)
	filling, stop := context.WithCancel(ctx)
	filled := make(chan error, 1)
	go func() { filled <- l.fill(filling, free, full) }()
	writing, cancel := outlive(ctx, l.cfg.Grace)
	defer cancel()
	for {
		select {
		case b := <-full:
			if err := l.deliver(ctx, writing, b); err != nil {
				stop()
				_ = <-filled
				return nil // ctx ended: nothing else breaks off a delivery
			}
			free <- b
		case err := <-filled:
			stop()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("sink: shard %s: %w", l.shard.Name, err)
		}
	}
}

// fill turns the log into batches until ctx ends or the log fails.
func (l *lane) fill(ctx context.Context, free <-chan *batch, full chan<- *batch) error {
	reader := l.cfg.Log.Read(l.batcher.done.Next)
	defer reader.Close()
	l.batcher.next = reader.Next
	for {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		b.reset()
		fresh := l.batcher.fresh
		if err := l.batcher.fill(ctx, b); err != nil {
			return err
		}
		if fresh && !l.batcher.fresh {
			l.cfg.Log.SetCursor(l.name, l.batcher.origin)
		}
		l.books.filled(b, l.batcher.origin.Totals)
		select {
		case full <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

// deliver settles all of b and moves the cursor. A write that is under way when
// ctx ends may go on until writing ends; none is begun after that. The only
// error is ctx's.
func (l *lane) deliver(ctx, writing context.Context, b *batch) error {
	l.books.took(b)
	if err := l.settle(ctx, writing, b, 0, b.rows()); err != nil {
		return err
	}
	l.cfg.Log.SetCursor(l.name, b.cursor)
	l.books.settled(b)
	return nil
}

// settle writes rows [lo, hi) of b, or finds those that InfluxDB refuses by
// halving and puts them aside: k bad rows of n cost about 2k log n writes.
func (l *lane) settle(ctx, writing context.Context, b *batch, lo, hi int) error {
	for lo < hi {
		n, refused, err := l.write(ctx, writing, b, lo, hi)
		switch {
		case err != nil:
			return err
		case refused == nil:
			l.books.wrote(n)
		case n == 1 || refused.refusesAll(n):
			if err := l.putAside(ctx, b.slice(lo, lo+n), refused); err != nil {
				return err
			}
			l.books.buried(n, refused)
		default:
			if err := l.settle(ctx, writing, b, lo, lo+n/2); err != nil {
				return err
			}
			if err := l.settle(ctx, writing, b, lo+n/2, lo+n); err != nil {
				return err
			}
		}
		lo += n
	}
	return nil
}

// write tries until InfluxDB has taken or refused the first n of rows [lo, hi):
// all of them, or fewer if they are to be a probe. The only error is ctx's.
func (l *lane) write(ctx, writing context.Context, b *batch, lo, hi int) (n int, refused *WriteError, err error) {
	for attempt := 0; ; {
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		n = l.breaker.most(hi - lo)
		begun := time.Now()
		err = l.breaker.write(func() error { return l.shard.Influx.Write(writing, b.slice(lo, lo+n)) })
		refused = new(WriteError)
		switch {
		case err == nil:
			l.observe(begun, b.at[lo:lo+n])
			l.books.fine(l)
			return n, nil, nil
		case errors.Is(err, errBreakerOpen):
			err = sleep(ctx, time.Second/10)
		case !errors.As(err, &refused): // ctx ended, and then writing
			return 0, nil, err
		case refused.Kind == Row:
			l.books.fine(l)
			return n, refused, nil
		default:
			l.books.trouble(l, refused.Kind, err)
			err = sleep(ctx, backoff(attempt, l.cfg.RetryMax, refused.RetryAfter))
			attempt++
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// putAside makes rows dead letters. While there is no room for them it waits:
// the lane stands still rather than lose them. The only error is ctx's.
func (l *lane) putAside(ctx context.Context, rows []byte, refused *WriteError) error {
	for {
		err := l.dead.append(l.shard.Name, refused, rows)
		if err == nil {
			l.books.fine(l)
			return nil
		}
		l.books.trouble(l, Configuration, err)
		if err := sleep(ctx, l.cfg.RetryMax); err != nil {
			return err
		}
	}
}

func (l *lane) observe(begun time.Time, at []int64) {
	now := time.Now()
	if f := l.cfg.ObserveWrite; f != nil {
		f(l.shard.Name, now.Sub(begun).Seconds())
	}
	if f := l.cfg.ObserveFreshness; f != nil {
		for _, ms := range at {
			f(l.shard.Name, float64(now.UnixMilli()-ms)/1000)
		}
	}
}

// backoff returns how long to wait after attempt, from 0: anything up to a bound
// that doubles with each, so that writers who failed together do not come back
// together; or a little longer than the server asked for.
func backoff(attempt int, most, asked time.Duration) time.Duration {
	const first = 250 * time.Millisecond
	if asked > 0 {
		return asked + rand.N(min(asked/4, time.Second)+1)
	}
	bound := most
	if attempt < 16 {
		bound = min(most, first<<attempt)
	}
	return rand.N(bound) + 1
}

// sleep returns nil after d, or ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
