package sink

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pingline"
	"pingline/queue"
)

// batch is lines on their way to one shard, and how far into the log they go.
type batch struct {
	lines []byte  // line protocol, each with its newline
	ends  []int   // where in lines each row ends
	at    []int64 // ts of each row, ms

	cursor    queue.Cursor // to be kept once all rows are settled
	since     time.Time    // when its oldest commit was written; zero if it passes nothing
	damaged   uint64       // stored pings it passes that the log has lost
	elsewhere uint64       // stored pings it passes that belong to other shards
}

func (b *batch) reset() {
	*b = batch{lines: b.lines[:0], ends: b.ends[:0], at: b.at[:0]}
}

func (b *batch) rows() int { return len(b.ends) }

// slice returns the lines of rows [lo, hi).
func (b *batch) slice(lo, hi int) []byte {
	from := 0
	if lo > 0 {
		from = b.ends[lo-1]
	}
	return b.lines[from:b.ends[hi-1]]
}

func (b *batch) add(e *pingline.Entry) {
	b.lines = pingline.AppendLine(b.lines, e)
	b.ends = append(b.ends, len(b.lines))
	b.at = append(b.at, e.At)
}

// maxLine is more than the line of a valid entry can take, in bytes.
const maxLine = 1 << 10

// batcher reads commits in order and cuts their stored pings into batches. A
// batch can end inside a commit: its cursor then still names that commit.
type batcher struct {
	next   func(context.Context) (queue.Record, error)
	mine   func(*pingline.Entry) bool // nil takes all
	lines  int                        // most rows of a batch
	bytes  int                        // most bytes of its lines
	wait   time.Duration              // from the first commit of a batch that is not full to its end
	logger *slog.Logger

	done   queue.Cursor // behind the last commit that was read to its end
	origin queue.Cursor // what done was at the start
	fresh  bool         // origin's totals are not known yet

	// The commit being read, if open.
	open  bool
	rec   queue.Record
	rest  pingline.Entries
	since time.Time      // when it was written
	seen  uint64         // its stored pings so far
	entry pingline.Entry // the last of them
}

// fill makes b the next batch: a full one if the log has that much, else what
// came within wait of its first commit. It returns an error of next, or ctx's;
// what was read before that error is in a batch returned before it, unless ctx
// ended.
func (r *batcher) fill(ctx context.Context, b *batch) error {
	waiting := ctx
	for b.rows() < r.lines && len(b.lines) <= r.bytes-maxLine {
		if !r.open {
			err := r.advance(waiting, b)
			if err != nil && !b.since.IsZero() && ctx.Err() == nil {
				break // time is up, or the next call tells
			}
			if err != nil {
				return err
			}
		}
		if b.since.IsZero() {
			b.since = r.since
			timed, cancel := context.WithTimeout(ctx, r.wait)
			defer cancel()
			waiting = timed
		}
		if r.open {
			r.encode(b)
		}
	}
	b.cursor = r.cursor()
	return nil
}

// advance opens the next commit, or passes one run of commits that are lost.
func (r *batcher) advance(ctx context.Context, b *batch) error {
	rec, err := r.next(ctx)
	if lost := new(queue.DamageError); errors.As(err, &lost) {
		r.skip(lost, b)
		return nil
	}
	if err != nil {
		return err
	}
	if r.fresh {
		r.done = queue.Cursor{Next: rec.Number, Totals: rec.Before}
		r.origin, r.fresh = r.done, false
	}
	b.damaged += lack(rec.Before, r.done.Totals)
	header, rest, err := pingline.DecodeCommit(rec.Payload)
	if err != nil {
		r.logger.Error("a commit cannot be read", "number", rec.Number, "error", err)
		header.At = time.Now().UnixMilli()
	}
	r.open, r.rec, r.rest, r.seen = true, rec, rest, 0
	r.since = time.UnixMilli(header.At)
	return nil
}

// skip moves past commits that are lost.
func (r *batcher) skip(lost *queue.DamageError, b *batch) {
	r.since = time.Now()
	r.done.Next = lost.To + 1
	if r.fresh {
		return
	}
	for i, n := range lost.Lost {
		r.done.Totals[i] += n
	}
	b.damaged += lost.Lost[pingline.TotalStored]
}

// lack returns how many stored pings a is ahead of b.
func lack(a, b queue.Totals) uint64 {
	if a[pingline.TotalStored] < b[pingline.TotalStored] {
		return 0
	}
	return a[pingline.TotalStored] - b[pingline.TotalStored]
}

// encode takes entries of the open commit until b is full or the commit ends.
func (r *batcher) encode(b *batch) {
	for b.rows() < r.lines && len(b.lines) <= r.bytes-maxLine {
		more, err := r.rest.Next(&r.entry)
		if err != nil {
			r.logger.Error("a commit cannot be read to its end", "number", r.rec.Number, "error", err)
		}
		if !more {
			r.close(b)
			return
		}
		if !r.entry.Stored() {
			continue
		}
		r.seen++
		if r.mine != nil && !r.mine(&r.entry) {
			b.elsewhere++
			continue
		}
		b.add(&r.entry)
	}
}

// close ends the open commit. What its totals promise and its entries lack is
// damage.
func (r *batcher) close(b *batch) {
	r.open = false
	r.done = queue.Cursor{Next: r.rec.Number + 1, Totals: r.rec.Totals}
	if held := lack(r.rec.Totals, r.rec.Before); held > r.seen {
		b.damaged += held - r.seen
	}
}

// cursor names the first commit of which not everything is encoded.
func (r *batcher) cursor() queue.Cursor {
	if r.open {
		return queue.Cursor{Next: r.rec.Number, Totals: r.rec.Before}
	}
	return r.done
}
