package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pingline/sink/deadletter"
	"pingline/sink/store"
)

// settle has the store take all rows of b, or makes those that it refuses for
// what they say dead letters, once all others are written. The only error is
// ctx's.
func (l *lane) settle(ctx, writing context.Context, b *batch) error {
	for rows := b.all(); len(rows) > 0; {
		s := sifter{lane: l, b: b}
		if err := s.sift(ctx, writing, rows); err != nil {
			return err
		}
		again, err := l.bury(ctx, writing, b, s.bad)
		if err != nil {
			return err
		}
		rows = again
	}
	return nil
}

// badRow is a row that a store refuses, and why.
type badRow struct {
	row int
	why *refusal
}

// refusal is the refusal of some rows by one shard.
type refusal struct {
	*store.Refusal
	by    *shard
	err   error // wraps Refusal
	aside []int // rows that nobody refuses, but that do not wait any longer; in order
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// reasonAside is the reason of rows that wait in the dead letters and not in the
// log.
const reasonAside = "set aside"

// unbudgeted returns the reason if rows that have it count against no budget of
// refusals, or "".
func (r *refusal) unbudgeted() string {
	if r.Reason == store.Expired || r.Reason == reasonAside {
		return r.Reason
	}
	return ""
}

// sifter parts the good rows of a batch from the bad.
type sifter struct {
	*lane
	b   *batch
	bad []badRow // in no order

	expired *shard // that said which rows were too old; nil if none did
}

// sift writes rows and sets those aside that are refused. A write that is
// refused is split in two and both parts are written: k bad rows of n cost about
// 2k log n writes, or much less if the store says what is wrong. The only error
// is ctx's.
func (s *sifter) sift(ctx, writing context.Context, rows []int) error {
	for len(rows) > 0 {
		n, refused, err := s.write(ctx, writing, s.b, rows)
		if err != nil {
			return err
		}
		part := rows[:n]
		rows = rows[n:]
		switch {
		case refused == nil:
			s.books.wrote(s.b, part)
		case len(refused.aside) > 0:
			rows = append(s.waitNoMore(part, refused), rows...)
		case n == 1 || refused.All:
			for _, i := range part {
				s.bad = append(s.bad, badRow{i, refused})
			}
		default:
			one, other := split(part, s.suspects(refused))
			if err := s.sift(ctx, writing, one); err != nil {
				return err
			}
			if err := s.sift(ctx, writing, other); err != nil {
				return err
			}
		}
	}
	return nil
}

// waitNoMore sets those of rows aside that need not wait for their shard, and
// returns the others.
func (s *sifter) waitNoMore(rows []int, why *refusal) (rest []int) {
	for _, i := range rows {
		if _, is := slices.BinarySearch(why.aside, i); is {
			s.bad = append(s.bad, badRow{i, why})
		} else {
			rest = append(rest, i)
		}
	}
	return rest
}

// suspects returns the rows that a store seems to mean. Those that are too old are
// believed once a shard: the edge moves on while a batch is written, and would cut
// off a few rows each time.
func (s *sifter) suspects(r *refusal) []int {
	if r.Reason == store.Expired {
		if s.expired == r.by {
			return nil
		}
		s.expired = r.by
	}
	return r.Suspects
}

// split divides rows that a store did not take as a whole in two, neither empty:
// those that it suspects, by their place among rows, and the others, or else
// halves. A suspicion is only a hint; either part has yet to be written. It must
// divide the rows to count, so that hints cost few writes even if they are wrong.
func split(rows, suspects []int) (one, other []int) {
	half := len(rows) / 2
	for i, row := range rows {
		if len(suspects) > 0 && suspects[0] == i {
			suspects = suspects[1:]
			one = append(one, row)
		} else {
			other = append(other, row)
		}
	}
	if len(one) > 0 && len(other) > 0 {
		return one, other
	}
	return rows[:half], rows[half:]
}

// bury makes bad rows dead letters. Where it must not, because too many are
// refused, or cannot, because there is no room for more, the lane stands still:
// it asks every now and then whether the store takes them after all, and returns
// the rows that are to be written again if it takes some. The only error is
// ctx's.
func (l *lane) bury(ctx, writing context.Context, b *batch, bad []badRow) (again []int, err error) {
	stands := false
	slices.SortStableFunc(bad, func(a, b badRow) int {
		return cmp.Or(strings.Compare(a.why.by.Name, b.why.by.Name), strings.Compare(a.why.Reason, b.why.Reason))
	})
	defer func() {
		if stands && err == nil {
			l.books.fine(l)
		}
	}()
	for len(bad) > 0 {
		n, err := l.putAside(ctx, b, bad)
		bad = bad[n:]
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.books.trouble(l, err, !stands)
		stands = true
		if err := sleep(ctx, l.cfg.RetryMax); err != nil {
			return nil, err
		}
		taken, err := l.probe(ctx, writing, b, bad)
		if err != nil {
			return nil, err
		}
		if taken {
			return numbers(bad), nil
		}
	}
	return nil, nil
}

// putAside makes the first n of bad durable as dead letters, of one shard at a
// time: that which refused them, and which they count against. If it stops
// before all of that shard's are, it returns an error.
func (l *lane) putAside(ctx context.Context, b *batch, bad []badRow) (n int, err error) {
	by, reason := bad[0].why.by, bad[0].why.unbudgeted()
	bad = leading(bad, func(r badRow) bool { return r.why.by == by && r.why.unbudgeted() == reason })
	switch reason {
	case store.Expired:
		return l.expire(ctx, b, bad, by)
	case reasonAside:
		return l.setAside(ctx, b, bad, by)
	}
	may, free := by.tally.admit(len(bad))
	if may == 0 {
		by.tally.allow(l.dead.Accepted(by.Name))
		may, free = by.tally.admit(len(bad))
	}
	n, err = l.dead.Append(ctx, may, b.letters(bad))
	by.tally.giveBack(may-n, free)
	by.tally.passed(n)
	for _, r := range bad[:n] {
		l.books.buried(b, []int{r.row}, r.why)
	}
	if err == nil && n < len(bad) {
		err = fmt.Errorf("shard %s: %w", by.Name, by.tally.tooMany(len(bad)-n, bad[n].why.Refusal))
	}
	return n, err
}

// expire makes rows that a shard would not keep any more dead letters, or counts
// them if there is no room for such rows.
func (l *lane) expire(ctx context.Context, b *batch, bad []badRow, by *shard) (n int, err error) {
	now := time.Now().UnixMilli()
	for _, r := range bad {
		by.expiry.refused(r.why.Refusal, time.Duration(now-b.at[r.row])*time.Millisecond)
	}
	kept, err := l.dead.AppendHalf(ctx, len(bad), b.letters(bad))
	if err != nil && !errors.Is(err, deadletter.ErrFull) {
		return 0, err
	}
	by.tally.passed(len(bad))
	for _, r := range bad {
		l.books.buried(b, []int{r.row}, r.why)
	}
	if kept < len(bad) {
		by.expired(len(bad) - kept)
	}
	return len(bad), nil
}

// leading returns those of rows that stand before the first that is not meant.
func leading(rows []badRow, meant func(badRow) bool) []badRow {
	if n := slices.IndexFunc(rows, func(r badRow) bool { return !meant(r) }); n >= 0 {
		return rows[:n]
	}
	return rows
}

// probe writes one row for each reason that rows were refused for, and reports
// whether any of them is taken now.
func (l *lane) probe(ctx, writing context.Context, b *batch, bad []badRow) (taken bool, err error) {
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
func numbers(bad []badRow) []int {
	list := make([]int, len(bad))
	for i, r := range bad {
		list[i] = r.row
	}
	slices.Sort(list)
	return list
}
