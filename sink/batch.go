package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/deadletter"
	"pingline/sink/route"
	"pingline/sink/store"
)

// batch is rows on their way to one shard, and the cursor behind them.
type batch struct {
	rows    []byte          // as the store of its shard encodes them, one behind the other
	ends    []int           // where in rows each ends
	at      []int64         // ts of each row, ms
	entries entries         // of the rows, as the log has them
	keys    []partition.Key // key that each row is spread by; none if no other shard can stand in
	fixed   []bool          // rows that no other shard can stand in for, as many as keys
	taken   []bool          // rows that another shard has taken; none if there are none

	cursor  queue.Cursor // to be kept once all rows are delivered
	since   time.Time    // when its oldest commit was written; zero if it passes nothing
	damaged uint64       // entries it passes that the log has lost, if its lane counts them

	numbers []int  // of the rows, from 0; not fewer than there are
	picked  []byte // the last result of pick, if it had to copy

	counted int // bytes in the account of its lane's shard
}

// size returns how many bytes b takes.
func (b *batch) size() int {
	const word = 8
	return cap(b.rows) + cap(b.picked) + cap(b.fixed) + cap(b.taken) + word*(cap(b.ends)+cap(b.at)+cap(b.keys)+cap(b.numbers)) + b.entries.size()
}

func (b *batch) reset() {
	*b = batch{
		rows: b.rows[:0], ends: b.ends[:0], at: b.at[:0], keys: b.keys[:0], fixed: b.fixed[:0], taken: b.taken[:0],
		entries: entries{bytes: b.entries.bytes[:0], ends: b.entries.ends[:0], written: b.entries.written[:0]},
		numbers: b.numbers, picked: b.picked, counted: b.counted,
	}
}

func (b *batch) len() int { return len(b.ends) }

// all returns the numbers of all rows. It is valid until the next reset.
func (b *batch) all() []int {
	for i := len(b.numbers); i < b.len(); i++ {
		b.numbers = append(b.numbers, i)
	}
	return b.numbers[:b.len()]
}

// pick returns the bytes of rows, which are in order. It is valid until the
// next call.
func (b *batch) pick(rows []int) []byte {
	if len(rows) == 0 {
		return nil
	}
	first, last := rows[0], rows[len(rows)-1]
	if last-first == len(rows)-1 {
		return b.rows[b.start(first):b.ends[last]]
	}
	b.picked = b.picked[:0]
	for _, i := range rows {
		b.picked = append(b.picked, b.rows[b.start(i):b.ends[i]]...)
	}
	return b.picked
}

// start returns where in rows row i begins.
func (b *batch) start(i int) int {
	if i == 0 {
		return 0
	}
	return b.ends[i-1]
}

// entries are rows in the form of the log: a row that a store refuses is kept in
// no store's form.
type entries struct {
	bytes   []byte
	ends    []int32 // where in bytes each ends
	written []int64 // At of each one's commit, ms
}

func (s *entries) size() int { return cap(s.bytes) + 4*cap(s.ends) + 8*cap(s.written) }

// add takes an entry as it stands in a commit written at.
func (s *entries) add(raw []byte, at int64) {
	s.bytes = append(s.bytes, raw...)
	s.ends = append(s.ends, int32(len(s.bytes)))
	s.written = append(s.written, at)
}

// at returns entry i, which shares the memory of s.
func (s *entries) at(i int) (e pingline.Entry) {
	start := int32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	_, _ = pingline.DecodeEntry(&e, s.bytes[start:s.ends[i]], s.written[i]) // it could be decoded before
	return e
}

// letters returns rows as dead letters, by number.
func (b *batch) letters(bad []refusedRow) func(i int) deadletter.Letter {
	at := time.Now().UTC().Truncate(time.Millisecond)
	return func(i int) deadletter.Letter {
		why := bad[i].why
		return deadletter.Letter{
			At: at, Shard: why.by.Name, Cause: why.Reason, Reason: store.Clip(why.Refusal.Error()), Entry: b.entries.at(bad[i].row),
		}
	}
}

// add takes an entry, which is raw in a commit written at.
func (b *batch) add(e *pingline.Entry, to store.Store, raw []byte, written int64) {
	b.entries.add(raw, written)
	at := e.At
	switch {
	case e.IsLine():
		var ok bool
		if at, ok = e.LineTime(); !ok {
			at = time.Now().UnixMilli()
		}
	case e.Point != nil:
		at = e.Point.At
	}
	b.rows = to.AppendRow(b.rows, e)
	b.ends = append(b.ends, len(b.rows))
	b.at = append(b.at, at)
}

// batcher reads commits in order and cuts the entries of one lane into batches.
// A batch can end inside a commit: its cursor then still names that commit.
type batcher struct {
	next   func(context.Context) (queue.Record, error)
	routes *route.Cache
	store  store.Store // of the lane's shard
	lane   route.LaneID
	counts bool                                         // counts damaged entries
	total  int                                          // which total counts its kind of entry
	keyed  bool                                         // notes the key of each row
	router *route.Router                                // tells which rows are fixed; needed if keyed
	most   int                                          // rows of a batch
	bytes  int                                          // most bytes of its rows
	wait   time.Duration                                // from the first commit of a batch that is not full to its end
	end    uint64                                       // number that it stops before; 0 if none
	behind func(since time.Time, at *queue.Record) bool // whether to stop before a commit; nil never
	logger *slog.Logger

	done queue.Cursor // behind the last commit that was read to its end

	held    queue.Record // read, but behind said to stop before it; number 0 if there is none
	seen    uint64       // entries like those of the lane, of all shards, in the commits read
	claimed uint64       // those of the lane among them

	// The commit being read, if open.
	open     bool
	rec      queue.Record
	routed   *route.Routed
	nextSlot int            // of routed, to look at next
	since    time.Time      // when it was written
	passed   uint64         // entries of the lane, so far
	entry    pingline.Entry // the last of them
}

// Reasons of a batcher to stop, besides the log's and its context's.
var (
	errEnd    = errors.New("the hole is at its end")
	errBehind = errors.New("too far behind")
)

// fill makes b the next batch: a full one if the log has that much, else the
// entries that came within wait of its first commit. It returns an error of next,
// errEnd, errBehind or ctx's; entries read before that error are in a batch
// returned before it, unless ctx ended.
func (r *batcher) fill(ctx context.Context, b *batch) error {
	waiting := ctx
	for !r.full(b) {
		err := r.step(waiting, b)
		if err != nil && !b.since.IsZero() && ctx.Err() == nil {
			break // time is up, or the next call tells
		}
		if err != nil {
			return err
		}
		if waiting == ctx {
			timed, cancel := context.WithTimeout(ctx, r.wait)
			defer cancel()
			waiting = timed
		}
	}
	b.cursor = r.cursor()
	return nil
}

// fillOn adds to b until it is full or ctx ends. If it ends for another reason
// the next fill tells.
func (r *batcher) fillOn(ctx context.Context, b *batch) {
	for !r.full(b) && r.step(ctx, b) == nil {
	}
	b.cursor = r.cursor()
}

func (r *batcher) full(b *batch) bool { return b.len() >= r.most || len(b.rows) > r.bytes-store.MaxRow }

// step takes the entries that fit of the open commit, or of the next.
func (r *batcher) step(ctx context.Context, b *batch) error {
	if !r.open {
		if err := r.advance(ctx, b); err != nil {
			return err
		}
	}
	if b.since.IsZero() {
		b.since = r.since
	}
	if r.open {
		r.encode(b)
	}
	return nil
}

// advance opens the next commit, or passes one run of commits that are lost.
func (r *batcher) advance(ctx context.Context, b *batch) error {
	if r.end != 0 && r.done.Next >= r.end {
		return errEnd
	}
	rec, err := r.read(ctx)
	if lost := new(queue.DamageError); errors.As(err, &lost) {
		r.skip(lost, b)
		return nil
	}
	if err != nil {
		return err
	}
	if r.end != 0 && rec.Number >= r.end {
		r.done.Next = r.end
		return errEnd
	}
	routed := r.routes.Route(&rec)
	if errors.Is(routed.Err, pingline.ErrNewer) { // it is whole, and not ours to pass over
		r.held = rec
		return fmt.Errorf("commit %d of the log: %w", rec.Number, routed.Err)
	}
	if routed.Err != nil {
		r.complain(rec.Number, routed.Err)
	}
	since := time.UnixMilli(routed.At)
	if r.behind != nil && r.behind(since, &rec) {
		r.held = rec
		return errBehind
	}
	r.damage(b, lack(rec.Before, r.done.Totals, r.total))
	r.open, r.rec, r.routed, r.nextSlot, r.passed, r.since = true, rec, routed, 0, 0, since
	return nil
}

func (r *batcher) read(ctx context.Context) (queue.Record, error) {
	if rec := r.held; rec.Number != 0 {
		r.held = queue.Record{}
		return rec, nil
	}
	return r.next(ctx)
}

// skip moves past commits that are lost.
func (r *batcher) skip(lost *queue.DamageError, b *batch) {
	r.since = time.Now()
	r.done.Next = lost.To + 1
	for i, n := range lost.Lost {
		r.done.Totals[i] += n
	}
	r.damage(b, lost.Lost[r.total])
}

// damage passes n entries that are lost, if they are the lane's to count.
func (r *batcher) damage(b *batch, n uint64) {
	if r.counts {
		b.damaged += n
		r.done.Passed += n
	}
}

// complain logs an error that all lanes meet, once.
func (r *batcher) complain(number uint64, err error) {
	if r.counts && r.total == pingline.TotalStored {
		r.logger.Error("a commit cannot be read to its end", "number", number, "error", err)
	}
}

// lack returns how many entries a is ahead of b.
func lack(a, b queue.Totals, total int) uint64 {
	if a[total] < b[total] {
		return 0
	}
	return a[total] - b[total]
}

// encode takes entries of the open commit until b is full or the commit ends.
func (r *batcher) encode(b *batch) {
	for ; !r.full(b); r.nextSlot++ {
		if r.nextSlot == len(r.routed.Slots) {
			r.close(b)
			return
		}
		p := r.routed.Slots[r.nextSlot]
		if p.Lane != r.lane {
			continue
		}
		// It could be decoded before.
		n, _ := pingline.DecodeEntry(&r.entry, r.rec.Payload[p.Offset:], r.routed.At)
		r.passed++
		b.add(&r.entry, r.store, r.rec.Payload[p.Offset:int(p.Offset)+n], r.routed.At)
		if r.keyed {
			b.keys = append(b.keys, partition.KeyOf(&r.entry))
			b.fixed = append(b.fixed, r.router.Named(&r.entry))
		}
	}
}

// close ends the open commit. Entries that its totals count and that are not
// there are damage.
func (r *batcher) close(b *batch) {
	r.open = false
	r.done = queue.Cursor{Next: r.rec.Number + 1, Totals: r.rec.Totals, Passed: r.done.Passed + r.passed}
	found := r.routed.Found[r.total]
	if held := lack(r.rec.Totals, r.rec.Before, r.total); held > found {
		r.damage(b, held-found)
	}
	r.seen += found
	r.claimed += r.passed
	r.rec, r.routed = queue.Record{}, nil
}

// position returns the number of the commit to read next.
func (r *batcher) position() uint64 {
	switch {
	case r.open:
		return r.rec.Number + 1
	case r.held.Number != 0:
		return r.held.Number + 1
	}
	return r.done.Next
}

// cursor names the first commit of which not everything is encoded.
func (r *batcher) cursor() queue.Cursor {
	if r.open {
		return queue.Cursor{Next: r.rec.Number, Totals: r.rec.Before, Passed: r.done.Passed}
	}
	return r.done
}
