package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pingline/sink/batch"
	"pingline/sink/deadletter"
	"pingline/sink/store"
)

// deliver writes all rows of b to the store. Rows that the store refuses for
// their content become dead letters, once all other rows are written. The only
// error is ctx's.
func (l *lane) deliver(ctx, writing context.Context, b *batch.Encoded) error {
	for rows := b.All(); len(rows) > 0; {
		s := bisector{lane: l, b: b}
		if err := s.bisect(ctx, writing, rows); err != nil {
			return err
		}
		again, err := l.deadLetter(ctx, writing, b, s.refused)
		if err != nil {
			return err
		}
		rows = again
	}
	return nil
}

// refusedRow is a row that a store refuses, and the reason.
type refusedRow struct {
	row int
	why *shardRefusal
}

// shardRefusal is the refusal of some rows by a shard.
type shardRefusal struct {
	*store.Refusal
	by    *shard
	err   error // wraps Refusal
	aside []int // rows that no store refused, but that need not wait any longer; in order
}

func (r *shardRefusal) Error() string { return r.err.Error() }

func (r *shardRefusal) Unwrap() error { return r.err }

// reasonAside is the reason of rows that wait as dead letters and not in the
// log.
const reasonAside = "set aside"

// unbudgeted returns the reason of r if its rows count against no budget of
// refusals, or "".
func (r *shardRefusal) unbudgeted() string {
	if r.Reason == store.Expired || r.Reason == reasonAside {
		return r.Reason
	}
	return ""
}

// bisector separates the rows of a batch that a store takes from the rows that it
// refuses.
type bisector struct {
	*lane
	b       *batch.Encoded
	refused []refusedRow // in no order

	expired *shard // shard that named the rows that were too old; nil if none did
}

// bisect writes rows and collects the refused rows. A write that is refused is
// split in two and both parts are written: k refused rows of n cost about 2k log
// n writes, or much less if the store names the rows. The only error is ctx's.
func (s *bisector) bisect(ctx, writing context.Context, rows []int) error {
	for len(rows) > 0 {
		n, refused, err := s.write(ctx, writing, s.b, rows)
		if err != nil {
			return err
		}
		part := rows[:n]
		rows = rows[n:]
		switch {
		case refused == nil:
			s.written(s.b, part)
		case refused == isGivenUp:
			s.giveUp(s.b, part)
		case len(refused.aside) > 0:
			rows = append(s.splitAside(part, refused), rows...)
		case n == 1 || refused.All:
			for _, i := range part {
				s.refused = append(s.refused, refusedRow{i, refused})
			}
		default:
			one, other := split(part, s.suspects(refused))
			if err := s.bisect(ctx, writing, one); err != nil {
				return err
			}
			if err := s.bisect(ctx, writing, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// written counts rows of b that a store has taken.
func (l *lane) written(b *batch.Encoded, rows []int) {
	l.progress.written(len(rows))
	if b.Dressed > 0 && bareReason(l.home.Store) != "" {
		l.home.counters.undressed(b.DressedOf(rows))
	}
}

// bareReason returns why a store keeps no attributes, "" if it keeps them.
func bareReason(s store.Store) string {
	if d, ok := s.(store.AttrsDropper); ok {
		return d.DropsAttrs()
	}
	return ""
}

// attrsLost returns how many pings a store has written without some of their attributes, and
// why the last.
func attrsLost(s store.Store) (pings uint64, why string) {
	if l, ok := s.(store.AttrsLoser); ok {
		return l.AttrsLost()
	}
	return 0, ""
}

// splitAside collects the rows that need not wait for their shard, and returns the
// rest.
func (s *bisector) splitAside(rows []int, why *shardRefusal) (rest []int) {
	for _, i := range rows {
		if _, is := slices.BinarySearch(why.aside, i); is {
			s.refused = append(s.refused, refusedRow{i, why})
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// suspects returns the rows that a store seems to refuse. Rows that are said to be
// too old are believed once for each shard: the edge of retention moves on while a
// batch is written, and would cut off a few rows each time.
func (s *bisector) suspects(r *shardRefusal) []int {
	if r.Reason == store.Expired {
		if s.expired == r.by {
			return nil
		}
		s.expired = r.by
	}
	return r.Suspects
}

// deadLetter turns refused rows into dead letters. If too many are refused, or
// there is no room for more dead letters, the lane is halted: from time to time
// it asks whether the store takes the rows after all, and if the store takes
// some, it returns the rows to write again. The only error is ctx's.
func (l *lane) deadLetter(ctx, writing context.Context, b *batch.Encoded, bad []refusedRow) (again []int, err error) {
	halted := false
	slices.SortStableFunc(bad, func(a, b refusedRow) int {
		return cmp.Or(strings.Compare(a.why.by.Name, b.why.by.Name), strings.Compare(a.why.Reason, b.why.Reason))
	})
	defer func() {
		if halted && err == nil {
			l.halt.End()
		}
	}()
	for len(bad) > 0 {
		if l.sink.givesUp(b) {
			l.giveUp(b, numbers(bad))
			return nil, nil
		}
		n, err := l.appendLetters(ctx, b, bad)
		bad = bad[n:]
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.halt.Begin(err, !halted)
		halted = true
		if err := l.sink.pause(ctx, b, l.cfg.RetryMax); err != nil {
			return nil, err
		}
		taken, err := l.retryRefused(ctx, writing, b, bad)
		if err != nil {
			return nil, err
		}
		if taken {
			return numbers(bad), nil
		}
	}
	return nil, nil
}

// appendLetters makes the first n of bad durable as dead letters: the leading
// rows that one shard refused, within its budget. It returns an error if it
// stops before the last of them.
func (l *lane) appendLetters(ctx context.Context, b *batch.Encoded, bad []refusedRow) (n int, err error) {
	by, reason := bad[0].why.by, bad[0].why.unbudgeted()
	bad = leading(bad, func(r refusedRow) bool { return r.why.by == by && r.why.unbudgeted() == reason })
	switch reason {
	case store.Expired:
		return l.expire(ctx, b, bad, by)
	case reasonAside:
		return l.setAside(ctx, b, bad, by)
	}
	may, free := by.budget.Spend(len(bad))
	if may == 0 {
		by.budget.Allow(l.dead.Accepted(by.Name))
		may, free = by.budget.Spend(len(bad))
	}
	n, err = l.dead.Append(ctx, may, letters(b, bad))
	by.budget.Refund(may-n, free)
	by.budget.Passed(n)
	l.deadLettered(bad[:n])
	if err == nil && n < len(bad) {
		err = fmt.Errorf("shard %s: %w", by.Name, by.budget.TooMany(len(bad)-n, bad[n].why.Refusal))
	}
	return n, err
}

// expire turns rows that are older than a shard keeps into dead letters, or
// counts them if there is no room left for such rows.
func (l *lane) expire(ctx context.Context, b *batch.Encoded, bad []refusedRow, by *shard) (n int, err error) {
	now := time.Now().UnixMilli()
	for _, r := range bad {
		by.expiry.Refused(r.why.Refusal, time.Duration(now-b.At[r.row])*time.Millisecond)
	}
	kept, err := l.dead.AppendHalf(ctx, len(bad), letters(b, bad))
	if err != nil && !errors.Is(err, deadletter.ErrFull) {
		return 0, err
	}
	by.budget.Passed(len(bad))
	l.deadLettered(bad)
	if kept < len(bad) {
		by.expired(len(bad) - kept)
	}
	return len(bad), nil
}

// deadLettered counts rows that became dead letters, each for the shard that refused
// it.
func (l *lane) deadLettered(bad []refusedRow) {
	for _, r := range bad {
		r.why.by.counters.refused(r.why.Reason)
	}
	l.progress.deadLettered(len(bad))
	if l.cfg.Refused != nil && len(bad) > 0 {
		l.cfg.Refused(len(bad))
	}
}

// letters returns rows of b as dead letters, by number.
func letters(b *batch.Encoded, bad []refusedRow) func(i int) deadletter.Letter {
	at := time.Now().UTC().Truncate(time.Millisecond)
	return func(i int) deadletter.Letter {
		why := bad[i].why
		return deadletter.Letter{
			At: at, Shard: why.by.Name, Cause: why.Reason, Reason: store.Clip(why.Refusal.Error()), Entry: b.Entry(bad[i].row),
		}
	}
}

// leading returns the rows before the first for which meant is false.
func leading(rows []refusedRow, meant func(refusedRow) bool) []refusedRow {
	if n := slices.IndexFunc(rows, func(r refusedRow) bool { return !meant(r) }); n >= 0 {
		return rows[:n]
	}
	return rows
}

// retryRefused writes one row for each reason of refusal, and reports whether the
// store takes any of them now.
func (l *lane) retryRefused(ctx, writing context.Context, b *batch.Encoded, bad []refusedRow) (taken bool, err error) {
	tried := make(map[string]bool)
	for _, r := range bad {
		if tried[r.why.Reason] {
			continue
		}
		tried[r.why.Reason] = true
		_, refused, err := l.write(ctx, writing, b, []int{r.row})
		if err != nil || refused == nil {
			return err == nil, err
		}
	}
	return false, nil
}

// numbers returns the rows' numbers in order.
func numbers(bad []refusedRow) []int {
	list := make([]int, len(bad))
	for i, r := range bad {
		list[i] = r.row
	}
	slices.Sort(list)
	return list
}
