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
	"pingline/dedupe"
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
	filter, next, forgot, err := w.restore(ctx)
	if err != nil {
		return err
	}
	before := lossesOf(w.log, 0, next-1)
	if err := w.replay(ctx, filter, next, forgot || !noted(w.log, next).cover(before)); err != nil {
		return fmt.Errorf("replay the log from commit %d: %w", next, err)
	}
	w.checkpoint.lost = append(before, lossesOf(w.log, next, math.MaxUint64)...)
	w.filter = filter
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

// restore returns a filter with the newest checkpoint that can be read, and the
// number of the first commit to replay. Without a checkpoint the whole log is replayed.
// Then earlier pings are forgotten, if there were any: the log was trimmed, or a
// stranded checkpoint shows that there was another log.
func (w *Writer) restore(ctx context.Context) (f *dedupe.Filter, next uint64, forgot bool, err error) {
	list, err := checkpoints(w.cfg.Dir)
	if err != nil {
		return nil, 0, false, err
	}
	for _, path := range list {
		filter, next, err := w.try(ctx, path)
		if filter != nil || err != nil {
			return filter, next, false, err
		}
	}
	stranded, err := filepath.Glob(filepath.Join(w.cfg.Dir, "*"+strandedSuffix))
	if err != nil {
		return nil, 0, false, err
	}
	next = w.log.First()
	w.log.SetCursor(FilterCursor, queue.Cursor{Next: next})
	filter, err := dedupe.New(w.cfg.Filter)
	return filter, next, next > 1 || len(stranded) > 0, err
}

// try returns a filter with the checkpoint at path, or none if the checkpoint is damaged
// or does not fit this log. A checkpoint of a newer version is an error, because its
// state may be nowhere else.
func (w *Writer) try(ctx context.Context, path string) (*dedupe.Filter, uint64, error) {
	filter, err := dedupe.New(w.cfg.Filter)
	if err != nil {
		return nil, 0, err
	}
	next, err := loadCheckpoint(path, filter)
	switch {
	case errors.Is(err, pingline.ErrNewer):
		return nil, 0, err
	case err == nil && next >= w.log.First() && next <= w.log.Last()+1:
		return filter, next, nil
	}
	w.cfg.Logger.Warn("checkpoint of the filter cannot be used", "path", path, "next", next, "first", w.log.First(), "last", w.log.Last(), "error", err)
	if next > w.log.Last()+1 {
		// Otherwise the checkpoint would seem to fit once this log is as long.
		if err := w.log.Unmirror(ctx, path); err != nil {
			return nil, 0, err
		}
		return nil, 0, os.Rename(path, path+strandedSuffix)
	}
	return nil, 0, nil
}

// replay applies the log from commit next to its end. If commits are missing before it,
// or in it, they may have held pings of any time up to the commit that follows.
func (w *Writer) replay(ctx context.Context, filter *dedupe.Filter, next uint64, missing bool) error {
	last := w.log.Last()
	w.watermark.Reset(next)
	w.checkpoint.restored(w.log, next)
	erasures := w.erasures(next)
	r := w.log.Read(next)
	defer r.Close()
	var some [dedupe.Ahead]pingline.Entry
	for next <= last {
		erasures = eraseBefore(filter, erasures, next)
		rec, err := r.Next(ctx)
		if damage := new(queue.DamageError); errors.As(err, &damage) {
			missing, next = true, damage.To+1
			continue
		}
		if err != nil {
			return err
		}
		w.checkpoint.met(w.log, &rec)
		h, entries, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			return undecodable(rec.Number, err)
		}
		if missing {
			filter.Damaged(h.At)
			missing = false
		}
		oldest, err := replayCommit(filter, rec.Number, &h, &entries, &some)
		if err != nil {
			return undecodable(rec.Number, err)
		}
		w.watermark.Add(rec.Number, oldest)
		next = rec.Number + 1
	}
	eraseBefore(filter, erasures, next)
	if missing {
		filter.Damaged(time.Now().UnixMilli())
	}
	return nil
}

// undecodable returns the error for a commit that cannot be decoded, with the remedy.
// The log has checked its checksum, so the commit is as it was written.
func undecodable(number uint64, err error) error {
	if errors.Is(err, pingline.ErrCorrupt) {
		return fmt.Errorf("commit %d has the right checksum, but this version cannot read it; if a newer version wrote it, start that version: %w", number, err)
	}
	return fmt.Errorf("commit %d: %w", number, err)
}

// replayCommit replays a commit, and returns the time, ms, before which readers see the
// same without the commit.
func replayCommit(filter *dedupe.Filter, number uint64, h *pingline.CommitHeader, entries *pingline.Entries, some *[dedupe.Ahead]pingline.Entry) (oldest int64, err error) {
	filter.Clock(h.At)
	bound := dedupe.Bound{MaxError: float64(h.MaxError), AccuracyCap: float64(h.AccuracyCap)}
	oldest = math.MaxInt64
	for n := 0; ; {
		e := &some[n]
		ok, err := entries.Next(e)
		switch {
		case err != nil:
			return 0, err
		case ok && e.Kind == pingline.Judged:
			n++
		case ok && e.Stored():
			oldest = min(oldest, storedAt(e))
		}
		if !ok || n == len(some) {
			oldest = min(oldest, filter.Replay(number, bound, some[:n]))
			n = 0
		}
		if !ok {
			return oldest, nil
		}
	}
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
