package sink

import (
	"context"
	"sync"
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

// givingUp is how far a set is given up. Safe for concurrent use.
type givingUp struct {
	mu     sync.Mutex    // guards the fields below; nothing else is locked under it
	before uint64        // batches that hold commits before this number are given up
	news   chan struct{} // closed when before rises
}

func (g *givingUp) rise(before uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if before <= g.before {
		return
	}
	g.before = before
	if g.news != nil {
		close(g.news)
		g.news = nil
	}
}

// passes reports whether the rows of b are not to be written any more, and returns a channel
// that closes when more is given up.
func (g *givingUp) passes(b *batch.Encoded) (passed bool, news <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.news == nil {
		g.news = make(chan struct{})
	}
	return b.From < g.before, g.news
}

// GiveUp has the lanes pass the batches that hold commits before a number and are not written
// yet.
func (s *Sink) GiveUp(before uint64) { s.givingUp.rise(before) }

// Lowest returns the number of the first commit that some lane has not passed, with those of
// our own lines.
func (s *Sink) Lowest() uint64 {
	next := s.Written()
	for _, l := range s.lanes {
		next = min(next, l.position())
	}
	return next
}

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
	b.GivenUp += uint64(len(rest))
	l.progress.givenUp(len(rest))
	l.progress.written(len(rows) - len(rest))
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
	resume.NoteLacks(&change, s.cfg.Set, s.lacks)
	s.cfg.Log.Change(change)
}

// Lacks returns what the set does not have.
func (s *Sink) Lacks() resume.Lacks {
	s.lacking.Lock()
	defer s.lacking.Unlock()
	return s.lacks
}
