package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline/sink/batch"
	"pingline/sink/limit"
	"pingline/sink/route"
	"pingline/sink/store"
)

// write tries until the store has taken or refused the first n of rows, or some
// of them need not wait any more or are given up; n is less than all rows if the write is a
// probe. The only error is ctx's.
func (l *lane) write(ctx, writing context.Context, b *batch.Encoded, rows []int) (n int, refused *shardRefusal, err error) {
	for attempt := 0; ; {
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if l.home.Name != route.Nobody && l.sink.givesUp(b) { // what is for others is no loss
			return len(rows), isGivenUp, nil
		}
		n, err = l.send(ctx, writing, b, rows)
		refused = new(shardRefusal)
		open := errors.Is(err, limit.ErrOpen)
		if open || errors.As(err, &refused) && refused.Kind != store.BadRows {
			if why := l.aside(b, rows); why != nil {
				return len(rows), why, nil
			}
		}
		switch {
		case err == nil:
			return n, nil, nil
		case open:
			err = l.sink.pause(ctx, b, min(l.cfg.RetryMax, time.Second/10))
		case !errors.As(err, &refused): // ctx ended, and then writing ended
			return 0, nil, err
		case refused.Kind == store.BadRows:
			return n, refused, nil
		default:
			err = l.sink.pause(ctx, b, backoff(attempt, l.cfg.RetryMax, refused.After))
			attempt++
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

// send makes an attempt to write the first n of rows to the shard they belong
// to now: their own, or while that is down the shards that stand in for it. It
// returns a *shardRefusal, limit.ErrOpen if no write was tried, or ctx's error;
// some of the rows can have been taken all the same.
func (l *lane) send(ctx, writing context.Context, b *batch.Encoded, rows []int) (n int, err error) {
	if !l.sink.away(l.home) {
		if len(b.Taken) == 0 {
			return l.attempt(ctx, writing, l.home, b, rows)
		}
		return l.scatter(ctx, writing, b, rows, func(int) *shard { return l.home })
	}
	if rest := b.Untaken(rows); len(rest) > 0 {
		l.probeHome(ctx, writing, b, rest)
	}
	return l.scatter(ctx, writing, b, rows, func(row int) *shard {
		if b.Fixed[row] {
			return l.home
		}
		return l.sink.standIn(l.home, b, row)
	})
}

// probeHome tries whether the lane's own shard takes some of rows again, if a
// probe is due.
func (l *lane) probeHome(ctx, writing context.Context, b *batch.Encoded, rows []int) {
	most := l.home.health.Probe()
	if most == 0 {
		return
	}
	some := rows[:min(len(rows), most)]
	n, err := l.attempt(ctx, writing, l.home, b, some)
	l.home.health.Probed(err == nil)
	if err == nil {
		b.Take(some[:n])
	}
}

// attempt writes the first n of rows to a shard, as few as its breaker allows.
func (l *lane) attempt(ctx, writing context.Context, to *shard, b *batch.Encoded, rows []int) (n int, err error) {
	if to.health.Asked() || to.breaker.State() == limit.Open {
		return 0, limit.ErrOpen
	}
	release, err := to.writes.Acquire(ctx, limit.Class(l.class), len(rows))
	if err != nil {
		return 0, err
	}
	n = to.breaker.Most(len(rows))
	if l.cfg.Latch != nil {
		latch := l.cfg.Latch(to.Name)
		latch.Enter(b.At, rows[:n])
		defer latch.Leave()
	}
	lines := b.PickFor(to.Store, l.home.Store, rows[:n])
	l.home.account(b, false)
	copies := int64(batch.CopiesWritten * len(lines))
	to.memory.Add(copies)
	defer to.memory.Add(-copies)
	begun := time.Now()
	err = to.breaker.Write(func() error { return to.write(writing, l.kind, store.Rows{Bytes: lines, N: n}) })
	taken := 0
	if err == nil {
		taken = n
	}
	release(taken)
	refused := new(shardRefusal)
	switch {
	case err == nil:
		to.health.Answered(l.kind, n, n)
		to.budget.Passed(n)
		to.learn(b, rows[:n])
		l.observe(to, begun, b, rows[:n])
	case errors.As(err, &refused) && refused.Kind == store.BadRows:
		to.health.Answered(l.kind, 0, n)
	case errors.As(err, &refused):
		to.health.Failed(refused.Refusal, err, n)
	}
	return n, err
}

// write makes an attempt to write rows of a lane. It returns nil, a *shardRefusal, errUnheld,
// or ctx's error.
func (s *shard) write(ctx context.Context, kind route.LaneKind, rows store.Rows) error {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := whileHeld(limited, s.cfg.Log, kind, func(ctx context.Context) error { return s.Store.Write(ctx, rows) })
	if err == nil || ctx.Err() != nil || errors.Is(err, errUnheld) {
		return err
	}
	why := new(store.Refusal)
	if !errors.As(err, &why) {
		if limited.Err() != nil {
			err = fmt.Errorf("no answer within %v", s.cfg.Timeout)
		}
		why = &store.Refusal{Kind: store.Retry, Err: err}
	}
	return &shardRefusal{Refusal: why, by: s, err: err}
}

// scatter writes the rows that no shard has taken yet, each to the shard that to
// names. Of several errors it returns the first.
func (l *lane) scatter(ctx, writing context.Context, b *batch.Encoded, rows []int, to func(row int) *shard) (n int, err error) {
	groups := make(map[*shard][]int)
	for _, row := range b.Untaken(rows) {
		sh := to(row)
		groups[sh] = append(groups[sh], row)
	}
	for sh, group := range groups {
		failed := limit.ErrOpen
		for sh != nil && len(group) > 0 {
			var k int
			if k, failed = l.attempt(ctx, writing, sh, b, group); failed != nil {
				failed = among(failed, rows, group[:k])
				break
			}
			if sh != l.home && l.cfg.StoodIn != nil {
				l.cfg.StoodIn(sh.Name)
			}
			b.Take(group[:k])
			group = group[k:]
		}
		if err == nil && len(group) > 0 {
			err = failed
		}
	}
	return len(rows), err
}

// among turns the error of a write of some of rows into an error of a write of
// rows. If the store refuses bad rows, the suspects get their indexes in rows, and
// all of some become suspects if it refused all of them.
func among(err error, rows, some []int) error {
	why := new(shardRefusal)
	if len(some) == len(rows) || !errors.As(err, &why) || why.Kind != store.BadRows {
		return err
	}
	if !why.All {
		list := make([]int, 0, len(why.Suspects))
		for _, i := range why.Suspects {
			if i >= 0 && i < len(some) {
				list = append(list, some[i])
			}
		}
		some = list
	}
	of := *why.Refusal
	of.All, of.Suspects = false, nil
	for i, row := range rows {
		if len(some) > 0 && some[0] == row {
			some = some[1:]
			of.Suspects = append(of.Suspects, i)
		}
	}
	return &shardRefusal{Refusal: &of, by: why.by, err: why.err}
}

// away reports whether other shards stand in for home: keys are spread over it,
// another shard is up, and home has been down for HandOver, or for as long as
// the longest retry while the log is filling up.
func (s *Sink) away(home *shard) bool {
	if s.cfg.HandOver == 0 || !home.spread {
		return false
	}
	down := home.health.Down()
	if down == 0 || down < s.cfg.HandOver && !(down >= s.cfg.RetryMax && s.cfg.Policy().StandIn) {
		return false
	}
	return anyUp(s.shards[:s.router.Over()], home)
}

// standIn returns the shard that stores a row while its own is down: the next in the
// order of its key that is up, or nil. The order is a function of the key alone, so that
// the rows of a shard that is down are spread over all other shards.
func (s *Sink) standIn(home *shard, b *batch.Encoded, row int) *shard {
	var room [32]int
	for _, i := range s.cfg.Spread.OrderKey(room[:0], b.Keys[row]) {
		if sh := s.shards[i]; sh != home && sh.health.Up() {
			return sh
		}
	}
	return nil
}

func (l *lane) observe(to *shard, begun time.Time, b *batch.Encoded, rows []int) {
	if to.Name == route.Nobody {
		return
	}
	now := time.Now()
	if f := l.cfg.ObserveWrite; f != nil {
		f(to.Name, now.Sub(begun).Seconds())
	}
	if f := l.cfg.ObserveFreshness; f != nil && l.kind != route.Own {
		f(to.Name, l.class.String(), func(yield func(seconds float64) bool) {
			for _, i := range rows {
				if !yield(float64(now.UnixMilli()-b.At[i]) / 1000) {
					return
				}
			}
		})
	}
}
