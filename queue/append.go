package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline/queue/disk"
	"pingline/queue/driver"
	"pingline/queue/record"
	"pingline/queue/scan"
)

// Append makes payload durable as the next record, with the running totals t
// after it, and returns its number. It copies payload. With reserve it may use
// the room that the log keeps back.
//
// An error wraps ErrFull or ErrTooLarge if nothing was stored, ErrClosed if the
// log is closed, and ErrUnclear otherwise: then call Settle before the next
// Append.
func (l *Log) Append(ctx context.Context, payload []byte, t Totals, reserve bool) (uint64, error) {
	r := Record{Totals: t, Payload: payload}
	st, after, err := l.admit(&r, reserve)
	if err != nil {
		return 0, fmt.Errorf("append %d bytes: %w", len(payload), err)
	}
	if err := l.put(ctx, st, &r, after, nil); err != nil {
		return 0, fmt.Errorf("append record %d of %d bytes: %w: %w", r.Number, len(payload), ErrUnclear, err)
	}
	return r.Number, nil
}

// admit gives r its number, or refuses it.
func (l *Log) admit(r *Record, reserve bool) (st driver.Stream, after uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.limit - l.bytes
	if !reserve {
		room -= l.reserve
	}
	head := record.Header(l.epoch)
	n := head + len(r.Payload)
	switch most := l.stream.MaxData(); {
	case l.closed:
		return nil, 0, ErrClosed
	case l.unclear:
		return nil, 0, fmt.Errorf("%w: the append before it, until Settle returns nil", ErrUnclear)
	case n > most:
		return nil, 0, fmt.Errorf("%w: at most %d", ErrTooLarge, most-head)
	case l.stream.Size(n, l.seq) > room:
		return nil, 0, fmt.Errorf("%w: %d of %d bytes are left", ErrFull, max(room, 0), l.limit)
	}
	r.Number, r.Before = l.last+1, l.totals
	l.sign(r)
	return l.stream, l.seq, nil
}

// put appends r behind sequence after, and shows it to the readers once it is
// durable. Before it does, it calls first, if that is not nil, with mu held.
func (l *Log) put(ctx context.Context, st driver.Stream, r *Record, after uint64, first func()) error {
	b := record.Encode(r)
	pad := l.padding(st.MaxPad(len(b)))
	err := l.holdLog(ctx, false)
	if err == nil {
		err = st.Put(ctx, l.cfg.AppendTimeout, b, pad, after)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.stream != st {
		err = errors.New("the log was reopened during the append")
	}
	if err != nil {
		l.unclear = true
		if errors.Is(err, driver.ErrWriteFailed) {
			l.say(&l.trouble.Failing, disk.Explain(l.cfg.Dir, err))
		}
		if errors.Is(err, disk.ErrGone) {
			l.say(&l.trouble.Gone, err)
		}
		return err
	}
	if first != nil {
		first()
	}
	if err := l.highWater.Write(r.Number, &r.Totals); (err != nil) != l.markFails {
		l.markFails = err != nil
		l.cfg.Logger.Warn("high-water mark of the log", "error", err)
	}
	if l.counted <= after {
		l.bytes += st.Size(len(b), after) + st.PadSize(pad)
		l.counted = after + 1
	}
	l.numbering = l.numbering.With(r.Number, after+1)
	l.seq, l.last, l.kept, l.totals = after+1, r.Number, r.Number, r.Totals
	l.appended = true
	l.filling -= min(l.filling, st.PadSize(pad))
	l.cache.Add(*r)
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	return nil
}

// Settle finds out, after ErrUnclear, where the log ends: it appends a record that
// holds payload and adds nothing to the totals, under the next free number, until
// an append succeeds. An append that was in flight can no longer land then. It
// returns the number of the record, which is the last, and the totals.
//
// It tries until ctx is done, as long as the disk is full or the servers do not
// answer, and may then be called again. Meanwhile Trouble returns the cause;
// servers elsewhere may be choosing a leader, so their silence counts only after
// AppendTimeout. It does not settle a log whose files are gone. If another node
// has taken the log over, it returns at once, with an error wrapping ErrOwned.
func (l *Log) Settle(ctx context.Context, payload []byte) (last uint64, t Totals, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.life, func() { cancel(ErrClosed) })()
	said, began := "", time.Now()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, settleEvery) {
		r, err := l.settle(ctx, payload)
		if err == nil {
			l.say(&l.trouble.Failing, nil)
			return r.Number, r.Totals, nil
		}
		if errors.Is(err, ErrClosed) || errors.Is(err, ErrOwned) {
			return 0, t, fmt.Errorf("settle the log: %w", err)
		}
		switch where, _ := addresses(l.cfg.URL); {
		case errors.Is(err, disk.ErrGone), ctx.Err() != nil:
		case l.cfg.embedded():
			l.say(&l.trouble.Failing, disk.Explain(l.cfg.Dir, err))
		case time.Since(began) > l.cfg.AppendTimeout:
			l.say(&l.trouble.Failing, fmt.Errorf("the log at %s does not answer: %w", where, err))
		}
		if text := err.Error(); text != said {
			said = text
			l.cfg.Logger.Warn("the end of the log is not settled yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return 0, t, fmt.Errorf("settle the log: %w: %w", context.Cause(ctx), err)
		case <-time.After(wait):
		}
	}
}

// settleEvery is the longest time between two tries to settle: a disk that has
// room again is noticed within it.
const settleEvery = time.Second

// settle tries once, and returns the record that it appended.
func (l *Log) settle(ctx context.Context, payload []byte) (r Record, err error) {
	l.mu.Lock()
	known := Cursor{Next: l.last + 1, Totals: l.totals}
	closed := l.closed
	l.unclear = true
	l.mu.Unlock()
	if closed {
		return r, ErrClosed
	}
	if err := l.watched.Check(); err != nil {
		l.say(&l.trouble.Gone, err)
	}
	if err := l.trouble.IsGone(); err != nil { // a new log would be made, without the records
		return r, err
	}
	if l.cfg.embedded() {
		if err := l.reopen(ctx, len(payload)); err != nil {
			return r, err
		}
	}
	l.trimming.Lock()
	defer l.trimming.Unlock()
	st := l.session()
	v, next, err := l.survey(ctx, st, known)
	if err != nil {
		return r, err
	}
	if err := l.outrank(ctx, v); err != nil {
		return r, err
	}
	if err := l.holdLog(ctx, true); err != nil {
		return r, err
	}
	tries := 0
	for ; ; tries++ {
		// The survey is known to be true only when this append succeeds: a server
		// that lags behind does not tell of records that other servers hold.
		r = Record{Number: next.Next, Before: next.Totals, Totals: next.Totals, Payload: payload}
		l.mu.Lock()
		l.sign(&r)
		l.mu.Unlock()
		err := l.put(ctx, st, &r, v.LastSeq, func() { l.assume(v, next) })
		if err == nil {
			break
		}
		if !errors.Is(err, driver.ErrGoneOn) || tries == chases || !l.chase(ctx, st, &v, &next) {
			return r, fmt.Errorf("append record %d: %w", r.Number, err)
		}
	}
	if err := l.reportLost(ctx, st, v, next); err != nil {
		return r, err
	}
	if tries > 0 { // the survey counted fewer bytes
		if err := l.recount(ctx, st, l.First()); err != nil {
			return r, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unclear = false
	return r, nil
}

// chases is how often settle tries to hit the end of a log that another owner, who does not
// know yet that the log is ours, still appends to: a survey takes longer than one append.
const chases = 200

// chase moves the survey v, and next, to the end that the log has now. It reports false if
// more than appends of another have changed.
func (l *Log) chase(ctx context.Context, st driver.Stream, v *survey, next *Cursor) bool {
	seq, data, err := st.Last(ctx)
	if err != nil || v.Last == nil || seq < v.LastSeq {
		return false
	}
	rec, err := record.Decode(data)
	last := &scan.Stored{Record: rec, Seq: seq}
	if err != nil || last.Offset() != v.Last.Offset() {
		return false
	}
	found := *v.Survey
	found.Last = last
	bounds := *v.Bounds
	bounds.LastSeq = seq
	moved := survey{&bounds, &found}
	if l.outrank(ctx, moved) != nil {
		return false
	}
	*v, *next = moved, Cursor{Next: rec.Number + 1, Totals: rec.Totals}
	return true
}

// reopen closes the embedded server and opens it again: a server that could not
// write once never writes again. Appends in flight to it are lost.
//
// While the disk is too full for n bytes, it is opened only to drop the records that
// every cursor has passed, if there are more of them than at the last try: the log
// itself may fill the disk.
func (l *Log) reopen(ctx context.Context, n int) error {
	full := errors.Join(disk.KeepSpare(l.cfg.Dir), disk.Probe(l.cfg.Dir, n+disk.SpareBytes))
	before, passed := l.passed()
	if full != nil && (!passed || before <= l.triedRoom) {
		return full
	}
	l.session().Close()
	st, err := connectReady(ctx, &l.cfg)
	if err != nil {
		return errors.Join(full, fmt.Errorf("open the log anew: %w", err))
	}
	if err := l.adopt(st); err != nil {
		st.Close()
		return err
	}
	if full == nil {
		l.triedRoom = 0
		return nil
	}
	l.triedRoom = before
	if err := disk.DropSpare(l.cfg.Dir); err != nil {
		return errors.Join(full, err)
	}
	return errors.Join(full, l.trimTo(ctx, before))
}
