package sink

import (
	"context"
	"time"

	"pingline/queue"
	"pingline/sink/batch"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// A set of shards may be one that is given up before pings are refused for its sake. Then its
// lanes pass the oldest batches without writing them: they read and count each entry, so the
// accounts close with the entries that were given up, and move on as if these had been
// delivered. A batch goes as a whole, since it holds the log from its beginning on. The count is kept with the cursors, in one change of the log. A commit of which a
// part was given up when the process ended is read again: then that part was counted, and may
// be written all the same.

// GiveUp has the lanes pass the batches that hold commits before a number and are not written
// yet.
func (s *Sink) GiveUp(before uint64) { s.givingUp.rise(before) }

// givesUp reports whether the rows of b are not to be written any more.
func (s *Sink) givesUp(b *batch.Encoded) bool {
	passed, _ := s.givingUp.passes(b)
	return passed
}

// pause waits for a time before b is tried again, or until b is given up. The only error is
// ctx's.
func (s *Sink) pause(ctx context.Context, b *batch.Encoded, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		passed, news := s.givingUp.passes(b)
		if passed {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-news:
		}
	}
}

// isGivenUp is the refusal of rows that are given up.
var isGivenUp = &shardRefusal{}

// giveUp passes those of rows that no shard has taken.
func (l *lane) giveUp(b *batch.Encoded, rows []int) {
	rest := b.Untaken(rows)
	if l.cfg.GaveUp != nil {
		for _, row := range rest {
			e := b.Entry(row)
			l.cfg.GaveUp(&e)
		}
	}
	b.GivenUp += uint64(len(rest))
	l.progress.givenUp(len(rest))
	l.progress.written(len(rows) - len(rest))
}

// lacksOf returns the name under which gaps are noted: those of a sink beside another are no
// gaps of its set.
func (s *Sink) lacksOf() string {
	if s.cfg.Beside != nil {
		return route.SpaceOf(s.cfg.Set, s.cfg.Era)
	}
	return s.cfg.Set
}

// lack moves the cursor of a lane to a position, and notes that n entries were given up; the
// caller holds the lane's mutex.
func (s *Sink) lack(l *lane, to queue.Cursor, n uint64) {
	s.lacking.Lock()
	defer s.lacking.Unlock()
	change := queue.Change{Set: map[string]queue.Cursor{l.name: to}}
	s.lacks.Until = time.Now().UnixMilli()
	if l.kind == route.Own {
		s.lacks.Lines += n
	} else {
		s.lacks.Pings += n
	}
	resume.NoteLacks(&change, s.lacksOf(), s.lacks)
	s.cfg.Log.Change(change)
}
