package ingest

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/queue"
)

// A checkpoint is the filter's state in a file, so that a start need read only
// the tail of the log behind it. It is taken in pieces between commits, each with the
// number of the commit it stands at, and written by a goroutine of its own, so that
// the writer never stops for longer than a piece takes.
//
// A checkpoint is in a file of package statefile. The checkpoint before is kept, and the log from
// its place on, in case the newest cannot be read. Beside a log on servers there are copies, for
// another node.
const checkpointsKept = 2

// FilterCursor is the name of the filter's cursor: the filter needs the log from there
// on.
const FilterCursor = "filter"

// checkpointConfig is the part of WriterConfig that is about checkpoints.
type checkpointConfig struct {
	dir     string        // "" keeps none
	every   time.Duration // longest time between two checkpoints
	entries int           // most entries logged between two checkpoints
	logger  *slog.Logger
}

// checkpointer saves the filter's state. Only the writer's goroutine calls its methods.
type checkpointer struct {
	cfg checkpointConfig

	due     time.Time // time at which the next checkpoint is to begin
	entries int       // entries logged since the last checkpoint began
	pause   time.Time // no checkpoint begins before this time, after a failure

	// Places of the readable checkpoints on disk, oldest first, at most
	// checkpointsKept. The place where a replay without a checkpoint would begin is
	// among them. The log's cursor is never behind the first.
	kept []queue.Cursor

	alone    bool             // the next checkpoint replaces all before it, and is due
	snapshot *dedupe.Snapshot // the checkpoint being taken, or nil
	at       queue.Cursor     // the log behind the oldest of its pieces
	lost     losses           // losses that the filter does not rely on
	without  losses           // losses that the checkpoint being taken does not rely on
	pieces   chan []byte      // pieces, to the goroutine that writes them
	written  chan []byte      // their memory, back from that goroutine, to use again
	saved    chan error       // the result of that goroutine
	stop     func()           // has it end, once it has all pieces
	hurried  chan struct{}    // nil, or closed once the checkpoint that comes next has ended
	cost     checkpointCost
}

// checkpointCost is the cost of a checkpoint.
type checkpointCost struct {
	began  time.Time
	pieces int
	bytes  int64
	busy   time.Duration // total time that it took the writer
	stop   time.Duration // longest time that it stopped the writer
}

func newCheckpointer(cfg checkpointConfig) *checkpointer {
	return &checkpointer{cfg: cfg, due: time.Now().Add(cfg.every)}
}

// active reports whether step is to be called soon.
func (c *checkpointer) active() bool { return c.snapshot != nil || c.hurried != nil }

// hurry has a checkpoint begin at the next step, unless one is on its way, or nothing was logged
// since the last. It returns a channel that is closed once it has ended.
func (c *checkpointer) hurry() <-chan struct{} {
	if c.hurried == nil {
		c.hurried = make(chan struct{})
	}
	ended := c.hurried
	switch {
	case c.saved != nil: // it is on its way
	case c.cfg.dir == "" || c.entries == 0 || time.Now().Before(c.pause):
		c.ended()
	default:
		c.due = time.Time{}
	}
	return ended
}

// step takes the next piece, begins a checkpoint that is due, or notes that a
// checkpoint was saved. The filter must stand at the log's last commit.
func (c *checkpointer) step(f *dedupe.Filter, log *queue.Log, entries int) {
	if c.cfg.dir == "" {
		return
	}
	c.entries += entries
	select {
	case err := <-c.saved:
		c.finished(log, err)
	default:
	}
	switch {
	case c.snapshot != nil && len(c.pieces) < cap(c.pieces): // else the disk lags behind
		c.take(log)
	case c.snapshot == nil && c.saved == nil && c.isDue(log):
		c.begin(f, log)
	}
}

// tailShare: between two checkpoints the log may grow by an eighth of its limit. As the
// checkpoint before the newest needs the log, too, up to a quarter is kept.
const tailShare = 8

func (c *checkpointer) isDue(log *queue.Log) bool {
	now := time.Now()
	if c.alone || c.entries == 0 || now.Before(c.pause) {
		return c.alone && !now.Before(c.pause)
	}
	newest, tail := c.at.Next, false
	if n := len(c.kept); n > 0 {
		newest = c.kept[n-1].Next
	}
	if newest > 0 {
		tail = log.BytesSince(newest) > log.Limit()/tailShare
	}
	return tail || c.entries >= c.cfg.entries || !now.Before(c.due)
}

// restored notes the place from which the state was read back: the place of a
// checkpoint, or the first commit of the log. The log's cursor is never behind it: it
// is at the checkpoint before, if there is one. The totals of the place are known if
// the log has nothing behind it; otherwise the first replayed commit tells them.
func (c *checkpointer) restored(log *queue.Log, next uint64) {
	c.kept, c.at = nil, queue.Cursor{Next: next}
	head := log.Head()
	if head.Next == next {
		c.at = head
	}
	switch cursor, ok := log.Cursor(FilterCursor); {
	case !ok || cursor.Next > next:
		log.SetCursor(FilterCursor, c.at)
	case cursor.Next < next:
		c.kept = []queue.Cursor{cursor}
	}
	if head.Next == next {
		c.kept = append(c.kept, head)
	}
}

// followed notes that the state was read along: the checkpoint before is that of the log's cursor, beside
// the log on its servers.
func (c *checkpointer) followed(cursor queue.Cursor) {
	c.kept, c.at = []queue.Cursor{cursor}, cursor
}

// met notes a commit that is replayed.
func (c *checkpointer) met(log *queue.Log, rec *queue.Record) {
	if rec.Number != c.at.Next {
		return
	}
	c.at.Totals = rec.Before
	c.kept = append(c.kept, c.at)
	if cursor, ok := log.Cursor(FilterCursor); ok && cursor.Next == c.at.Next {
		log.SetCursor(FilterCursor, c.at)
	}
}

func (c *checkpointer) begin(f *dedupe.Filter, log *queue.Log) {
	c.due, c.entries = time.Now().Add(c.cfg.every), 0
	c.at = queue.Cursor{Next: log.Last() + 1, Totals: log.LastTotals()}
	c.snapshot, c.without = f.Snapshot(), c.lost
	c.pieces, c.written, c.saved = make(chan []byte, 4), make(chan []byte, 8), make(chan error, 1)
	c.cost = checkpointCost{began: time.Now()}
	keep := []string{c.path(c.at.Next)}
	for _, at := range slices.Backward(c.kept) {
		if path := c.path(at.Next); !c.alone && path != keep[0] { // else the new file replaces it
			keep = append(keep, path)
			break
		}
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	go func(pieces <-chan []byte, written chan<- []byte, saved chan<- error) {
		err := statefile.Save(keep[0], pieces, written)
		if err == nil {
			err = log.Mirror(ctx, keep)
		}
		if err == nil {
			err = statefile.RemoveOld(c.cfg.dir, keep)
		}
		saved <- err
	}(c.pieces, c.written, c.saved)
}

// path is the file of a checkpoint behind which the log is read from number next on.
func (c *checkpointer) path(next uint64) string {
	return statefile.Path(c.cfg.dir, next)
}

// take hands a piece to the goroutine that writes.
func (c *checkpointer) take(log *queue.Log) {
	began := time.Now()
	var buf []byte
	select {
	case buf = <-c.written:
	default:
	}
	piece, more := c.snapshot.Next(buf, log.Last())
	took := time.Since(began)
	c.cost.pieces++
	c.cost.bytes += int64(len(piece))
	c.cost.busy += took
	c.cost.stop = max(c.cost.stop, took)
	c.pieces <- piece
	if !more {
		c.snapshot = nil
		close(c.pieces)
	}
}

// ended tells whoever waits for a checkpoint.
func (c *checkpointer) ended() {
	if c.hurried != nil {
		close(c.hurried)
		c.hurried = nil
	}
}

func (c *checkpointer) finished(log *queue.Log, err error) {
	defer c.ended()
	c.saved = nil
	c.stop()
	if err != nil {
		if !errors.Is(err, statefile.ErrAbandoned) {
			c.cfg.logger.Warn("checkpoint of the filter was not saved; the last saved checkpoint stays in use", "error", err)
			c.pause = time.Now().Add(pauseAfterFailure)
		}
		return
	}
	if n := len(c.kept); n > 0 && c.kept[n-1].Next == c.at.Next {
		c.kept = c.kept[:n-1] // its file was replaced
	}
	c.kept = append(c.kept, c.at)
	c.without.note(log, c.at.Next)
	if c.alone {
		c.kept, c.alone = c.kept[len(c.kept)-1:], false
		log.SetCursor(FilterCursor, c.at)
	}
	if n := len(c.kept); n >= checkpointsKept {
		c.kept = c.kept[n-checkpointsKept:]
		log.SetCursor(FilterCursor, c.kept[0])
	}
	c.cfg.logger.Info("the filter's state is saved", "next", c.at.Next, "pieces", c.cost.pieces, "bytes", c.cost.bytes,
		"took", time.Since(c.cost.began), "writer_busy", c.cost.busy, "longest_stop", c.cost.stop)
}

// pauseAfterFailure is the wait before the next checkpoint after the disk did not take
// one.
const pauseAfterFailure = 10 * time.Second

// copyAtStop bounds the copying to the servers of the log at the end.
const copyAtStop = 30 * time.Second

// abandon drops a checkpoint that is being taken.
func (c *checkpointer) abandon() {
	defer c.ended()
	if c.snapshot != nil {
		c.snapshot = nil
		c.pieces <- nil // no piece is empty: the writer takes it as a refusal
		close(c.pieces)
	}
	if c.saved != nil {
		c.stop()
		_ = <-c.saved // only to wait for the goroutine: its result does not matter
		c.saved = nil
	}
}

// finish saves the state as it is now, and waits until it is saved.
func (c *checkpointer) finish(f *dedupe.Filter, log *queue.Log) {
	if c.cfg.dir == "" {
		return
	}
	c.abandon()
	c.begin(f, log)
	for c.snapshot != nil {
		c.take(log)
	}
	defer time.AfterFunc(copyAtStop, c.stop).Stop()
	c.finished(log, <-c.saved)
}
