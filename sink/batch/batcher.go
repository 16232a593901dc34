package batch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/route"
	"pingline/sink/store"
	"time"
)

// Batcher reads commits in order and cuts the entries of a lane into batches. A
// batch can end inside a commit: its cursor then still names that commit.
type Batcher struct {
	Next   func(context.Context) (queue.Record, error)
	Routes *route.Cache
	Store  store.Store // of the lane's shard
	Lane   route.LaneID
	Counts bool                                         // whether damaged entries are counted
	Total  int                                          // total of the log that counts the lane's kind of entry
	Keyed  bool                                         // whether the key of each row is kept
	Router *route.Router                                // decides which rows are Fixed; required if Keyed
	Most   int                                          // most rows of a batch
	Bytes  int                                          // most bytes of its rows
	Wait   time.Duration                                // from the first commit of a batch that is not full to its end
	End    uint64                                       // number of the commit to stop before; 0 if none
	Fence  *Fence                                       // where all lanes of the layout end; nil never
	Behind func(since time.Time, at *queue.Record) bool // whether to stop before a commit; nil never
	Erased func(number uint64, e *pingline.Entry) bool  // whether an entry of a commit is not to be written any more; nil never
	Logger *slog.Logger

	Done queue.Cursor // behind the last commit that was read to its end

	Held    queue.Record // read, but Behind said to stop before it; Number is 0 if there is none
	Seen    uint64       // entries of the lane's kind, of all shards, in the commits read
	Claimed uint64       // entries of the lane itself among Seen

	// The commit being read, if open.
	open     bool
	rec      queue.Record
	routed   *route.Routed
	nextSlot int            // next slot of routed to look at
	since    time.Time      // when it was written
	passed   uint64         // entries of the lane passed so far
	entry    pingline.Entry // scratch, for the entry being encoded
}

// Reasons of a batcher to stop, besides the log's and its context's.
var (
	ErrEnd    = errors.New("the hole is at its end")
	ErrBehind = errors.New("too far behind")
)

// Fill makes b the next batch: a full batch if the log has that much, else the
// entries that came within Wait of its first commit. It returns an error of the
// log, ErrEnd, ErrBehind or ctx's; entries read before that error are in a batch
// returned before it, unless ctx ended.
func (r *Batcher) Fill(ctx context.Context, b *Encoded) error {
	waiting := ctx
	b.From = r.cursor().Next
	for !r.full(b) {
		err := r.step(waiting, b)
		if err != nil && !b.Since.IsZero() && ctx.Err() == nil {
			break // time is up, or the next call returns the error
		}
		if err != nil {
			return err
		}
		if waiting == ctx {
			timed, cancel := context.WithTimeout(ctx, r.Wait)
			defer cancel()
			waiting = timed
		}
	}
	b.Cursor = r.cursor()
	return nil
}

// FillOn adds to b until it is full or ctx ends. If it stops for an error, the
// next Fill returns it.
func (r *Batcher) FillOn(ctx context.Context, b *Encoded) {
	for !r.full(b) && r.step(ctx, b) == nil {
	}
	b.Cursor = r.cursor()
}

func (r *Batcher) full(b *Encoded) bool {
	return b.Len() >= r.Most || len(b.Rows) > r.Bytes-store.MaxRow
}

// step takes the entries that fit of the open commit, or of the next.
func (r *Batcher) step(ctx context.Context, b *Encoded) error {
	if !r.open {
		if err := r.advance(ctx, b); err != nil {
			return err
		}
	}
	if b.Since.IsZero() {
		b.Since = r.since
	}
	if r.open {
		r.encode(b)
	}
	return nil
}

// advance opens the next commit, or passes a run of commits that are lost.
func (r *Batcher) advance(ctx context.Context, b *Encoded) error {
	if r.End != 0 && r.Done.Next >= r.End {
		return ErrEnd
	}
	rec, err := r.read(ctx)
	if lost := new(queue.DamageError); errors.As(err, &lost) {
		r.skip(lost, b)
		return nil
	}
	if err != nil {
		return err
	}
	if r.End != 0 && rec.Number >= r.End {
		r.Done.Next = r.End
		return ErrEnd
	}
	if mine, err := r.Fence.take(ctx, rec.Number); err != nil || !mine {
		r.Held = rec
		if err == nil {
			err = r.finish(b)
		}
		return err
	}
	routed := r.Routes.Route(&rec)
	if errors.Is(routed.Err, pingline.ErrNewer) { // a newer version wrote it whole, so it is not damage to skip
		r.Held = rec
		return fmt.Errorf("commit %d of the log: %w", rec.Number, routed.Err)
	}
	if routed.Err != nil {
		r.complain(rec.Number, routed.Err)
	}
	since := time.UnixMilli(routed.At)
	if r.Behind != nil && r.Behind(since, &rec) {
		r.Held = rec
		return ErrBehind
	}
	r.damage(b, Lack(rec.Before, r.Done.Totals, r.Total))
	r.open, r.rec, r.routed, r.nextSlot, r.passed, r.since = true, rec, routed, 0, 0, since
	return nil
}

func (r *Batcher) read(ctx context.Context) (queue.Record, error) {
	if rec := r.Held; rec.Number != 0 {
		r.Held = queue.Record{}
		return rec, nil
	}
	return r.Next(ctx)
}

// finish returns ErrEnd at the end of the layout; before it, it first moves there, over
// commits that are lost.
func (r *Batcher) finish(b *Encoded) error {
	end, _ := r.Fence.End()
	if r.Done.Next >= end.Next {
		return ErrEnd
	}
	r.since = time.Now()
	r.damage(b, Lack(end.Totals, r.Done.Totals, r.Total))
	r.Done = queue.Cursor{Next: end.Next, Totals: end.Totals, Passed: r.Done.Passed}
	return nil
}

// skip moves past commits that are lost.
func (r *Batcher) skip(lost *queue.DamageError, b *Encoded) {
	r.since = time.Now()
	if r.Fence.Skip(queue.Cursor{Next: lost.To + 1}).Next <= lost.To {
		_ = r.finish(b) // the next commit is behind the end
		return
	}
	r.Done.Next = lost.To + 1
	for i, n := range lost.Lost {
		r.Done.Totals[i] += n
	}
	r.damage(b, lost.Lost[r.Total])
}

// damage passes n lost entries, if the lane counts them.
func (r *Batcher) damage(b *Encoded, n uint64) {
	if r.Counts {
		b.Damaged += n
		r.Done.Passed += n
	}
}

// complain logs an error once, though all lanes meet it.
func (r *Batcher) complain(number uint64, err error) {
	if r.Counts && r.Total == pingline.TotalStored {
		r.Logger.Error("a commit cannot be read to its end", "number", number, "error", err)
	}
}

// Lack returns by how many entries of a total a is ahead of b.
func Lack(a, b queue.Totals, total int) uint64 {
	if a[total] < b[total] {
		return 0
	}
	return a[total] - b[total]
}

// encode takes entries of the open commit until b is full or the commit ends.
func (r *Batcher) encode(b *Encoded) {
	for ; ; r.nextSlot++ {
		if r.nextSlot == len(r.routed.Slots) {
			r.close(b) // also if b is full: its cursor is then behind the commit
			return
		}
		if r.full(b) {
			return
		}
		p := r.routed.Slots[r.nextSlot]
		if p.Lane != r.Lane {
			continue
		}
		// It was decoded before without an error.
		n, _ := pingline.DecodeEntry(&r.entry, r.rec.Payload[p.Offset:], r.routed.At)
		r.passed++
		if r.Erased != nil && r.Erased(r.rec.Number, &r.entry) {
			b.Erased++
			continue
		}
		b.add(&r.entry, r.Store, r.rec.Payload[p.Offset:int(p.Offset)+n], r.routed.At)
		if r.Keyed {
			b.Keys = append(b.Keys, partition.KeyOf(&r.entry))
			b.Fixed = append(b.Fixed, r.Router.Named(&r.entry))
		}
	}
}

// close ends the open commit. Entries that its totals count and that were not
// found are damage.
func (r *Batcher) close(b *Encoded) {
	r.open = false
	r.Done = queue.Cursor{Next: r.rec.Number + 1, Totals: r.rec.Totals, Passed: r.Done.Passed + r.passed}
	found := r.routed.Found[r.Total]
	if held := Lack(r.rec.Totals, r.rec.Before, r.Total); held > found {
		r.damage(b, held-found)
	}
	r.Seen += found
	r.Claimed += r.passed
	r.rec, r.routed = queue.Record{}, nil
}

// Position returns the number of the commit to read next.
func (r *Batcher) Position() uint64 {
	switch {
	case r.open:
		return r.rec.Number + 1
	case r.Held.Number != 0:
		return r.Held.Number + 1
	}
	return r.Done.Next
}

// cursor names the first commit of which not everything is encoded.
func (r *Batcher) cursor() queue.Cursor {
	if r.open {
		return queue.Cursor{Next: r.rec.Number, Totals: r.rec.Before, Passed: r.Done.Passed}
	}
	return r.Done
}
