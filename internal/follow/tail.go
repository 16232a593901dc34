package follow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"pingline/ingest"
	"pingline/internal/pause"
	"pingline/queue/jetstream"
	"pingline/queue/record"
	"pingline/queue/scan"
)

// errGone is wrapped by the error for records that the log has no more.
var errGone = errors.New("records are gone")

// open copies a checkpoint from the servers, and reads it.
func (r *Reader) open(ctx context.Context, get func(ctx context.Context, name string, w io.Writer) error, name string) (*ingest.Past, error) {
	if err := os.MkdirAll(r.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(r.cfg.Dir, name)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // #nosec G304: in our directory
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(path) }()
	if err := errors.Join(get(ctx, name, file), file.Close()); err != nil {
		return nil, err
	}
	return ingest.OpenPast(r.cfg.Filter, path)
}

// survey returns which records the log has, at least one.
func (r *Reader) survey(ctx context.Context, s *jetstream.Session) (*scan.Survey, error) {
	b, err := s.Bounds(ctx)
	if err != nil {
		return nil, err
	}
	v, err := scan.Look(ctx, s.Next, b.FirstSeq, b.LastSeq, b.Missing)
	if err == nil && v.First == nil {
		err = errors.New("it has no records yet")
	}
	return v, err
}

// tail replays the records of the log behind past, until it fails. It calls well at their end.
func (r *Reader) tail(ctx context.Context, s *jetstream.Session, past *ingest.Past, well func()) error {
	v, err := r.survey(ctx, s)
	if err != nil {
		return err
	}
	next := past.Next() // which is the taker's once past is taken
	if next < v.First.Number || next > v.Last.Number+1 {
		return fmt.Errorf("%w: the log has records %d to %d, the newest checkpoint needs %d", errGone, v.First.Number, v.Last.Number, next)
	}
	r.mu.Lock()
	if !r.taken {
		r.past = past
	}
	r.mu.Unlock()
	leave := func() {}
	defer func() { leave() }() // a node that is cold attends no log
	for attended := false; ; {
		messages, err := s.Fetch(ctx, v.Numbering.Seq(next), batchBytes)
		if err != nil {
			return err
		}
		n, bytes, err := r.replay(ctx, past, next, messages)
		next += uint64(n)
		if gap := new(gapError); errors.As(err, &gap) {
			err = nil
			if n == 0 { // else the next look begins at the gap
				n, err = r.ask(ctx, s, past, next, v.Numbering.Seq(next)) // a server that lags behind may have said so
				next += uint64(n)
			}
			if err == nil && n == 0 {
				err = fmt.Errorf("%w: record %d is followed by %d", errGone, gap.next, gap.found)
			}
		}
		if err != nil {
			return err
		}
		every := lookSoon
		if n == 0 {
			every = lookEvery
			if !attended {
				if leave, err = s.Attend(); err != nil {
					return err
				}
				attended = true
			}
			well()
		}
		if n == 0 || bytes < batchBytes/2 { // else more has come meanwhile
			if err := pause.For(ctx, every); err != nil {
				return err
			}
		}
	}
}

// gapError says that the record which is next was passed over.
type gapError struct{ next, found uint64 }

func (e *gapError) Error() string {
	return fmt.Sprintf("record %d comes where %d should", e.found, e.next)
}

// ask has the stream's leader tell the next record, and replays it. It returns 0 if the leader has another.
func (r *Reader) ask(ctx context.Context, s *jetstream.Session, past *ingest.Past, next, seq uint64) (n int, err error) {
	b, err := s.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	found, err := scan.Find(ctx, s.Next, seq, b.LastSeq)
	if err != nil || found == nil || found.Number != next {
		return 0, err
	}
	return 1, r.apply(past, &found.Record)
}

// replay replays messages of the log, in order, from record number next on, and returns how many records there were, and
// the bytes of all messages.
func (r *Reader) replay(ctx context.Context, past *ingest.Past, next uint64, messages [][]byte) (n, bytes int, err error) {
	for _, m := range messages {
		bytes += len(m)
		rec, err := record.Decode(m)
		switch {
		case errors.Is(err, record.ErrNewer):
			return n, bytes, err
		case err != nil, rec.Number < next: // damage: the record behind it tells
			continue
		case rec.Number > next:
			return n, bytes, &gapError{next, rec.Number}
		}
		if err := r.apply(past, &rec); err != nil {
			return n, bytes, err
		}
		n, next = n+1, next+1
		if ctx.Err() != nil {
			return n, bytes, ctx.Err()
		}
	}
	return n, bytes, nil
}

// apply replays a record, unless the state was taken.
func (r *Reader) apply(past *ingest.Past, rec *record.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken {
		return context.Canceled
	}
	var err error
	if past.Fits(rec) {
		err = past.Replay(rec)
	} else { // servers have lost the newest records, or were restored from a copy
		err = fmt.Errorf("%w: the log goes on otherwise at record %d than it was read", errGone, rec.Number)
	}
	if err == nil && past.Erased() {
		err = fmt.Errorf("record %d has removed a rider: a checkpoint from behind it is waited for", rec.Number)
	}
	if err != nil {
		r.past = nil
	}
	return err
}
