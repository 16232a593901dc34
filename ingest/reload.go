package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"pingline"
	"pingline/internal/statefile"
	"pingline/queue"
)

// reload makes the filter anew from the last complete checkpoint and the log behind it. It does not judge
// again, so that neither a changed setting nor a newer program changes a verdict. An earlier owner of the
// log appends no more. Call dropFilter before: after an error the writer must have no filter.
func (w *Writer) reload(ctx context.Context) error {
	if err := w.checkNewest(ctx); err != nil {
		return err
	}
	w.begin()
	if err := w.log.Claim(ctx, w.buf); err != nil {
		return err
	}
	past, err := w.followed(ctx)
	if past == nil && err == nil {
		past, err = w.restore(ctx)
	}
	if err != nil {
		return err
	}
	next := past.next
	before := lossesOf(w.log, 0, next-1)
	past.missing = past.missing || !noted(w.log, next).cover(before)
	if err := w.replay(ctx, past); err != nil {
		return fmt.Errorf("replay the log from commit %d: %w", next, err)
	}
	w.checkpoint.lost = append(before, lossesOf(w.log, next, math.MaxUint64)...)
	w.filter, w.watermark = past.filter, past.steps
	w.filters++
	w.rebase()
	return nil
}

// checkNewest refuses a log whose newest commit was written by a newer version. The
// sinks and the roll-up would skip the commit as if it were damaged.
func (w *Writer) checkNewest(ctx context.Context) error {
	if w.log.Last() < w.log.First() {
		return nil
	}
	r := w.log.Read(w.log.Last())
	defer r.Close()
	rec, err := r.Next(ctx)
	if errors.As(err, new(*queue.DamageError)) {
		return nil
	}
	if err == nil {
		_, _, err = pingline.DecodeCommit(rec.Payload)
	}
	if err != nil && !errors.Is(err, pingline.ErrCorrupt) {
		return fmt.Errorf("newest commit of the log, %d: %w", w.log.Last(), err)
	}
	return nil
}

// followed returns the state that the configuration has, once, or none if a state from a checkpoint
// would be another: of what that needs the node which read the log along knew only the records.
func (w *Writer) followed(ctx context.Context) (*Past, error) {
	p := w.cfg.Past
	if w.cfg.Past = nil; p == nil {
		return nil, nil
	}
	why := ""
	cursor, ok := w.log.Cursor(FilterCursor)
	switch {
	case p.next < w.log.First() || p.next > w.log.Last():
		why = "it does not fit the log"
	case !ok || cursor.Next >= p.next: // the checkpoint that holds the log back is newer
		why = "there is a newer checkpoint"
	case len(lossesOf(w.log, 0, p.next-1)) > 0:
		why = "commits are lost"
	case p.erased: // the Erasure may be forgotten by now
		why = "a rider was removed meanwhile"
	default:
		r := w.log.Read(p.next)
		defer r.Close()
		rec, err := r.Next(ctx)
		switch {
		case errors.As(err, new(*queue.DamageError)):
			why = "the commit behind it is lost"
		case err != nil:
			return nil, err
		case !p.Fits(&rec):
			why = "the log goes on otherwise"
		}
	}
	if why != "" {
		w.cfg.Logger.Warn("the state of the filter that was read along is not used", "next", p.next, "first", w.log.First(), "last", w.log.Last(), "reason", why)
		return nil, nil
	}
	w.cfg.Logger.Info("the state of the filter was read along", "next", p.next, "last", w.log.Last(), "riders", p.Riders())
	w.checkpoint.followed(cursor)
	return p, nil
}

// restore returns the state of the newest checkpoint that can be read. Without a
// checkpoint the whole log is to be replayed. Then earlier pings are forgotten, if there
// were any: the log was trimmed, or a stranded checkpoint shows that there was another log.
func (w *Writer) restore(ctx context.Context) (*Past, error) {
	if w.cfg.Dir != "" && !w.fetched {
		if err := w.log.Fetch(ctx, w.cfg.Dir); err != nil {
			return nil, err
		}
		w.fetched = true
	}
	list, err := statefile.List(w.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, path := range list {
		past, err := w.try(ctx, path)
		if err != nil {
			return nil, err
		}
		if past != nil {
			w.checkpoint.restored(w.log, past.next)
			return past, nil
		}
	}
	stranded, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*"+statefile.Stranded))
	if err != nil {
		return nil, err
	}
	first := w.log.First()
	w.log.SetCursor(FilterCursor, queue.Cursor{Next: first})
	past, err := NewPast(w.cfg.Filter, first)
	if err != nil {
		return nil, err
	}
	past.missing = past.missing || len(stranded) > 0
	w.checkpoint.restored(w.log, first)
	return past, nil
}

// try returns the state of the checkpoint at path, or none if the checkpoint is damaged
// or does not fit this log. A checkpoint of a newer version is an error, because its
// state may be nowhere else.
func (w *Writer) try(ctx context.Context, path string) (*Past, error) {
	past, err := OpenPast(w.cfg.Filter, path)
	if past == nil {
		return nil, err
	}
	next := past.next
	switch {
	case errors.Is(err, pingline.ErrNewer):
		return nil, err
	case err == nil && next >= w.log.First() && next <= w.log.Last()+1:
		return past, nil
	}
	w.cfg.Logger.Warn("checkpoint of the filter cannot be used", "path", path, "next", next, "first", w.log.First(), "last", w.log.Last(), "error", err)
	if next > w.log.Last()+1 {
		// Otherwise the checkpoint would seem to fit once this log is as long.
		if err := w.log.Unmirror(ctx, path); err != nil {
			return nil, err
		}
		return nil, os.Rename(path, path+statefile.Stranded)
	}
	return nil, nil
}

// replay applies the log from p on to its end.
func (w *Writer) replay(ctx context.Context, p *Past) error {
	last := w.log.Last()
	erasures := w.erasures(p.next)
	r := w.log.Read(p.next)
	defer r.Close()
	for p.next <= last {
		erasures = eraseBefore(p.filter, erasures, p.next)
		rec, err := r.Next(ctx)
		if damage := new(queue.DamageError); errors.As(err, &damage) {
			p.missing, p.next = true, damage.To+1
			continue
		}
		if err != nil {
			return err
		}
		w.checkpoint.met(w.log, &rec)
		if err := p.Replay(&rec); err != nil {
			return err
		}
	}
	eraseBefore(p.filter, erasures, p.next)
	if p.missing {
		p.filter.Damaged(time.Now().UnixMilli())
	}
	return nil
}

// rebase sets the start of the equations to the present counts of the log and the
// filter, because an append of unknown fate may have landed uncounted.
func (w *Writer) rebase() {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.stats
	s.Totals = w.log.LastTotals()
	s.StartTotals = s.Totals
	s.StartTotals[pingline.TotalStored] -= s.Verdicts[pingline.Accepted] + s.Promoted + s.Replayed
	s.StartTotals[pingline.TotalLines] -= s.Lines
	s.Holding, s.Riders, s.FilterBytes = w.filter.Holding(), w.filter.Riders(), w.filter.Bytes()
	s.StartHolding = int64(s.Holding) - int64(s.Verdicts[pingline.Held]) + int64(s.Promoted) + int64(s.Covered)
}

// mistrust makes all tracks begin anew if commits were found to be lost since the filter
// was made.
func (w *Writer) mistrust() {
	lost := lossesOf(w.log, 0, math.MaxUint64)
	if w.checkpoint.lost.cover(lost) {
		return
	}
	w.cfg.Logger.Warn("commits that the filter relies on are lost: its tracks begin anew", "lost", len(lost))
	w.checkpoint.abandon()
	w.filter.Clock(w.at)
	w.filter.Damaged(w.at)
	w.checkpoint.lost = lost
}
