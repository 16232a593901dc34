package sink

import (
	"context"
	"math"
	"sync"
	"time"

	"pingline/internal/pause"
	"pingline/queue"
	"pingline/sink/batch"
	"pingline/sink/health"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// A lane of live pings that has fallen behind, mostly because its shard was away, goes on
// from the log's head, so that fresh positions arrive at once. The commits that it skips are
// a hole, which another lane fills meanwhile, as backfill. The new cursor of the live lane
// and the hole are one change of the log's cursors, on disk before the lane reads on, and a
// hole holds the log back from being trimmed as any cursor does. So wherever the process
// dies, each entry of the lane belongs to exactly one of the two.
//
// Holes are filled one at a time, the oldest first. No hole has a ping that is
// fresher than JumpAfter, so their order does not matter for freshness; but the
// log can be trimmed only up to the oldest hole, and its room matters when much
// has piled up. maxHoles is the most holes of a shard: then the live lane waits
// until a hole is filled. Endless overload makes one or two holes a minute, and
// the log does not last for so many.
const maxHoles = 64

// holes are the holes of a shard, safe for concurrent use.
type holes struct {
	news chan struct{} // signals that a hole was added; holds one signal

	// mu guards the fields below. It is taken after the mutex of the shard's live
	// lane, and before the mutexes of active and of a lane's progress.
	mu     sync.Mutex
	list   []resume.Hole // the oldest first, with the hole being filled
	active *lane         // fills list[0]; nil if nothing does
}

// behind tells the batcher to stop before a commit that is too old, if skipping to
// the head saves more than two batches.
func (l *lane) behind(since time.Time, rec *queue.Record) bool {
	if l.sink.age(rec.Number, since) < l.cfg.JumpAfter || batch.Lack(l.cfg.Log.LastTotals(), rec.Before, l.batcher.Total) <= uint64(2*l.cfg.BatchLines) {
		return false
	}
	l.home.holes.mu.Lock()
	defer l.home.holes.mu.Unlock()
	return len(l.home.holes.list) < maxHoles
}

// skipToHead lets the live lane go on from the head of the log. It reports false if
// that could not be made durable: then the lane goes on where it was, for now. The
// only error is ctx's.
func (l *lane) skipToHead(ctx context.Context) (bool, error) {
	if err := l.drain(ctx); err != nil {
		return false, err
	}
	from, head := l.batcher.Done, l.cfg.Until.Skip(l.cfg.Log.Head())
	h := resume.Hole{At: queue.Cursor{Next: from.Next, Totals: from.Totals}, End: head.Next}
	head.Passed = from.Passed
	l.mu.Lock()
	was := l.delivered
	l.delivered = head
	l.delivered.Passed += l.extra
	name := resume.HoleCursor(l.home.qualified, h.End)
	l.cfg.Log.Change(queue.Change{Set: map[string]queue.Cursor{name: h.At, l.name: l.delivered}})
	err := l.cfg.Log.KeepCursors()
	if err != nil {
		l.delivered = was
		l.cfg.Log.Change(queue.Change{Set: map[string]queue.Cursor{l.name: was}, Drop: []string{name}})
	} else {
		l.home.holes.add(h)
	}
	l.mu.Unlock()
	if err != nil {
		l.cfg.Logger.Warn("live pings cannot go first", "shard", l.home.Name, "error", err)
		return false, pause.For(ctx, time.Second)
	}
	l.cfg.Logger.Info("live pings go on from the head of the log; the stretch left out is filled in meanwhile", "shard", l.home.Name, "from", h.At.Next, "to", h.End)
	l.batcher.Done, l.batcher.Held = head, queue.Record{}
	l.progress.skipped(head)
	return true, nil
}

func (hs *holes) add(h resume.Hole) {
	hs.mu.Lock()
	hs.list = append(hs.list, h)
	hs.mu.Unlock()
	select {
	case hs.news <- struct{}{}:
	default:
	}
}

// next waits for a hole and returns the oldest, or false when ctx ends.
func (hs *holes) next(ctx context.Context) (resume.Hole, bool) {
	for {
		hs.mu.Lock()
		if len(hs.list) > 0 {
			h := hs.list[0]
			hs.mu.Unlock()
			return h, true
		}
		hs.mu.Unlock()
		select {
		case <-hs.news:
		case <-ctx.Done():
			return resume.Hole{}, false
		}
	}
}

// backfill fills the holes of shard i until ctx ends, and returns nil, or until
// the log cannot be read.
func (s *Sink) backfill(ctx context.Context, i int) error {
	hs := &s.shards[i].holes
	for {
		h, ok := hs.next(ctx)
		if !ok {
			return nil
		}
		l := s.newLane(i, route.Live, h.At)
		l.class, l.name = route.Backfill, resume.HoleCursor(l.home.qualified, h.End)
		l.halt = health.NewHalt(l.home.Name, l.class.String(), l.cfg.Logger)
		l.batcher.End, l.batcher.Behind = h.End, nil
		hs.mu.Lock()
		hs.active = l
		hs.mu.Unlock()
		if err := l.run(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		s.lane(i, route.Live).mergeHole(l)
	}
}

// mergeHole adds the entries that a hole has passed to the count of the live
// lane, and forgets the hole.
func (l *lane) mergeHole(filled *lane) {
	hs := &l.home.holes
	l.mu.Lock()
	hs.mu.Lock()
	l.extra += filled.delivered.Passed
	l.delivered.Passed += filled.delivered.Passed
	l.cfg.Log.Change(queue.Change{Set: map[string]queue.Cursor{l.name: l.delivered}, Drop: []string{filled.name}})
	hs.list, hs.active = hs.list[1:], nil
	hs.mu.Unlock()
	l.mu.Unlock()
	l.cfg.Logger.Info("a stretch of the log that live pings had left out is filled in", "shard", l.home.Name, "to", filled.batcher.End)
}

// lowest returns the number of the first commit that is not filled in
// completely, or the largest number if there are no holes.
func (hs *holes) lowest() uint64 {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	switch {
	case len(hs.list) == 0:
		return math.MaxUint64
	case hs.active != nil:
		return hs.active.position()
	}
	return hs.list[0].At.Next
}
