package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline/queue/driver"
	"pingline/queue/record"
	"pingline/queue/scan"
)

// Reader reads the log from a position on. It is for a single goroutine; any
// number of readers may read at once.
//
// At the head of the log it takes records from memory. Behind that it asks the
// stream for a batch at a time, and for the next batch while the first is
// used.
type Reader struct {
	log   *Log
	next  uint64 // number of the record to return next
	known bool   // total has the totals before next
	total Totals

	batch  []Record          // read, in order, not returned yet
	ahead  chan batchOrError // the batch behind batch; nil if none is on its way
	cancel context.CancelFunc
	ctx    context.Context
}

type batchOrError struct {
	list []Record
	err  error
}

const (
	batchBytes = 1 << 20     // bytes of a batch, beside its last record
	longWait   = time.Second // longest wait between tries
)

// Read returns a reader whose first record is number from, or the first record
// behind it that was not trimmed.
func (l *Log) Read(from uint64) *Reader {
	r := &Reader{log: l, next: max(from, 1)}
	r.ctx, r.cancel = context.WithCancel(l.life)
	return r
}

// Close ends the reader. Records it returned stay valid.
func (r *Reader) Close() {
	r.cancel()
	r.batch, r.ahead = nil, nil
}

// Next returns the next record; it waits until there is a durable record, or
// until ctx is done.
//
// If records are lost it returns a *DamageError that says which records, once,
// and goes on behind them at the next call. While the stream does not answer it
// waits: any other error is ctx's, or wraps ErrClosed.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	for wait := time.Duration(0); ; {
		if r.ctx.Err() != nil {
			return Record{}, fmt.Errorf("read record %d: %w", r.next, ErrClosed)
		}
		rec, grown, held := r.log.look(r.next)
		switch {
		case held:
			r.batch, r.ahead = nil, nil
			return r.give(rec), nil
		case grown != nil:
			select {
			case <-grown:
			case <-r.ctx.Done():
			case <-ctx.Done():
				return Record{}, ctx.Err()
			}
			continue
		}
		rec, err := r.behind(ctx)
		var damage *DamageError
		switch {
		case err == nil:
			return r.give(rec), nil
		case errors.As(err, &damage), ctx.Err() != nil:
			return Record{}, err
		}
		// The stream does not answer, or the log is being opened anew.
		if wait < longWait && 2*wait >= longWait {
			r.log.cfg.Logger.Warn("a reader of the log waits", "next", r.next, "error", err)
		}
		wait = min(max(2*wait, 10*time.Millisecond), longWait)
		select {
		case <-time.After(wait):
		case <-r.ctx.Done():
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
}

// look returns record number if it is in memory, or, if it does not exist yet, a
// channel that closes when a record is added.
func (l *Log) look(number uint64) (rec Record, grown <-chan struct{}, held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number > l.last {
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		return rec, l.grown, false
	}
	rec, held = l.cache.Get(number)
	return rec, nil, held
}

// give moves r behind rec.
func (r *Reader) give(rec Record) Record {
	r.next, r.known, r.total = rec.Number+1, true, rec.Totals
	return rec
}

// behind returns the next record from the stream. When it returns a
// DamageError it has moved r behind the damage.
func (r *Reader) behind(ctx context.Context) (Record, error) {
	for {
		if len(r.batch) == 0 {
			if err := r.fill(ctx); err != nil {
				return Record{}, err
			}
		}
		if len(r.batch) == 0 || r.batch[0].Number > r.next {
			return r.missing(ctx)
		}
		rec := r.batch[0]
		r.batch[0] = Record{}
		r.batch = r.batch[1:]
		if rec.Number == r.next {
			return rec, nil
		}
	}
}

// fill waits for the batch that is on its way, or requests it, and requests
// the batch behind it.
func (r *Reader) fill(ctx context.Context) error {
	if r.ahead == nil {
		r.ahead = r.log.sendFor(r.ctx, r.next)
	}
	var got batchOrError
	select {
	case got = <-r.ahead:
		r.ahead = nil
	case <-r.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	if got.err != nil {
		return got.err
	}
	r.batch = got.list
	if n := len(r.batch); n > 0 {
		if next := r.batch[n-1].Number + 1; r.log.onDisk(next) {
			r.ahead = r.log.sendFor(r.ctx, next)
		}
	}
	return nil
}

// onDisk reports whether record number is durable and not in memory.
func (l *Log) onDisk(number uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, held := l.cache.Get(number)
	return number <= l.last && !held
}

// sendFor gets a batch from record number on, in the background.
func (l *Log) sendFor(ctx context.Context, number uint64) chan batchOrError {
	c := make(chan batchOrError, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		c <- batchOrError{err: ErrClosed}
		return c
	}
	st, seq, last := l.stream, l.numbering.Seq(number), l.last
	l.work.Go(func() {
		list, err := records(ctx, st, seq, last)
		c <- batchOrError{list, err}
	})
	return c
}

// records returns a batch of records from seq on, up to number last: a record
// behind it is not known to be durable.
func records(ctx context.Context, st driver.Stream, seq, last uint64) (list []Record, err error) {
	messages, err := st.Fetch(ctx, seq, batchBytes)
	for _, m := range messages {
		if rec, err := record.Decode(m); err == nil && rec.Number <= last {
			list = append(list, rec)
		}
	}
	return list, err
}

// missing is called when the stream has passed over the next record. It returns
// the record all the same if the stream's leader has it; it moves r over
// trimmed records, and otherwise returns a DamageError.
func (r *Reader) missing(ctx context.Context) (Record, error) {
	l := r.log
	if at := l.cursors.Trimmed(); r.next < at.Next {
		r.next, r.known, r.total = at.Next, true, at.Totals
		return r.behind(ctx)
	}
	l.mu.Lock()
	st, seq, lastSeq := l.stream, l.numbering.Seq(r.next), l.seq
	d := damaged{from: r.next, to: l.last, before: r.total, after: l.totals}
	if held, ok := l.cache.Get(l.cache.First()); ok && held.Number > r.next {
		d.to, d.after = held.Number-1, held.Before // even if the stream has some of them
	}
	l.mu.Unlock()
	found, err := scan.Find(ctx, st.Next, seq, lastSeq)
	for err == nil && found != nil && found.Number < r.next {
		found, err = scan.Find(ctx, st.Next, found.Seq+1, lastSeq)
	}
	if err != nil {
		return Record{}, err
	}
	if found == nil {
		// Only a server that knows all durable records can say that a record is
		// gone. Another server may lead the stream, for a while, when
		// connections are cut.
		state, err := st.Bounds(ctx)
		if err != nil {
			return Record{}, err
		}
		if state.LastSeq < lastSeq {
			return Record{}, fmt.Errorf("read record %d: the stream ends at %d, not %d", r.next, state.LastSeq, lastSeq)
		}
	}
	if found == nil || found.Number != r.next {
		return Record{}, r.lost(ctx, st, d, found)
	}
	r.batch, r.ahead = nil, nil // they come from a replica that lags
	return found.Record, nil
}

// lost moves r behind the damage d, which ends before found if found is not
// nil, and returns it as an error.
func (r *Reader) lost(ctx context.Context, st driver.Stream, d damaged, found *scan.Stored) (err error) {
	if found != nil && found.Number <= d.to {
		d.to, d.after = found.Number-1, found.Before
	}
	if !r.known {
		if d.before, err = r.log.totalsBefore(ctx, st, d.from, d.after); err != nil {
			return err
		}
	}
	r.log.note(d)
	r.next, r.known, r.total = d.to+1, true, d.after
	return d.error()
}
