package queue

import (
	"context"
	"errors"
	"fmt"

	"pingline/queue/disk"
	"pingline/queue/driver"
	"pingline/queue/scan"
)

// TrimKept drops the records that every cursor has passed, kept or in memory.
// Without any cursor it drops nothing.
func (l *Log) TrimKept() error {
	next, ok := l.cursors.Nearest()
	if !ok {
		return nil
	}
	return l.Trim(next)
}

// passed returns the number before which every cursor has passed, and whether
// there are records before it.
func (l *Log) passed() (before uint64, ok bool) {
	next, ok := l.cursors.Nearest()
	l.mu.Lock()
	defer l.mu.Unlock()
	before = min(next, l.kept)
	return before, ok && before > l.first
}

// Trim drops records before number before, if that is worth it: dropping few
// costs as much as dropping many, so while the log is not half full it waits
// until they make up a hundredth of it. The last record always stays, as it
// carries the totals.
func (l *Log) Trim(before uint64) error {
	bytes, limit := l.Bytes(), l.Limit()
	if bytes <= limit/2 && bytes-l.BytesSince(before) < limit/128 {
		return nil
	}
	return l.trimTo(l.life, before)
}

func (l *Log) trimTo(ctx context.Context, before uint64) error {
	l.trimming.Lock()
	defer l.trimming.Unlock()
	l.mu.Lock()
	st, numbers, lastSeq := l.stream, l.numbering, l.seq
	before = min(before, l.kept)
	none := l.closed || before <= l.first
	l.mu.Unlock()
	if none {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, driver.RequestTimeout)
	defer cancel()
	if err := l.trim(ctx, st, before, numbers.Seq(before), lastSeq); err != nil {
		switch {
		case l.life.Err() != nil: // the true cause, even if the connection gives another
			err = context.Cause(l.life)
		case st.Closed(): // the log is being reopened: the next trim tries again
			return nil
		}
		return fmt.Errorf("trim the log before %d: %w", before, err)
	}
	return nil
}

// trim drops the records before number before, whose sequence is seq at least
// and lastSeq at most. First it writes to disk that they are gone on purpose.
func (l *Log) trim(ctx context.Context, st driver.Stream, before, seq, lastSeq uint64) error {
	r, err := scan.Find(ctx, st.Next, seq, lastSeq)
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("the first record to stay cannot be read")
	}
	totals := r.Before
	if r.Number > before {
		if totals, err = l.totalsBefore(ctx, st, before, totals); err != nil {
			return err
		}
	}
	l.cursors.SetTrimmed(Cursor{Next: before, Totals: totals})
	if err := l.cursors.Keep(); err != nil {
		// The disk may be full: the spare room is for that.
		if err := errors.Join(disk.DropSpare(l.cfg.Dir), l.cursors.Keep()); err != nil {
			return err
		}
	}
	if err := l.mayTrim(ctx, Cursor{Next: before, Totals: totals}); err != nil {
		return err
	}
	if free, err := disk.Free(l.cfg.Dir); l.cfg.embedded() && err == nil && free < disk.SpareBytes {
		if err := disk.DropSpare(l.cfg.Dir); err != nil { // a purge needs room too
			return err
		}
	}
	if err := st.Purge(ctx, r.Seq); err != nil {
		return err
	}
	if free, err := disk.Free(l.cfg.Dir); l.cfg.embedded() && err == nil && free > 2*disk.SpareBytes {
		_ = disk.KeepSpare(l.cfg.Dir) // or at the next trim: appends need the room more
	}
	return l.recount(ctx, st, r.Number)
}

// recount asks how many bytes the log takes, which begins at number first.
func (l *Log) recount(ctx context.Context, st driver.Stream, first uint64) error {
	for {
		state, err := st.Bounds(ctx)
		if err != nil {
			return err
		}
		if l.trimmed(st, first, state.LastSeq, state.Bytes) {
			return nil
		}
	}
}

// trimmed records that the log begins at number first and takes bytes up to
// sequence seq. It reports false if an append has gone beyond seq meanwhile.
func (l *Log) trimmed(st driver.Stream, first, seq uint64, bytes int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stream == st {
		if seq < l.counted {
			return false
		}
		l.first, l.bytes, l.counted = first, bytes, seq
	}
	return true
}
