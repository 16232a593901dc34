package ingest

import (
	"context"
	"fmt"
	"time"

	"pingline"
)

// append makes the commit durable, unless it has no entries. A commit that only
// settles held pings may use the log's reserve.
func (w *Writer) append(ctx context.Context, reserve bool) error {
	if w.entries > 0 {
		pingline.SetCommitEntries(w.buf, w.entries)
		pingline.SetCommitForm(w.buf, w.form)
		began := time.Now()
		// The append has a time limit of its own. To stop now would not make its
		// fate known any sooner.
		number, err := w.log.Append(context.WithoutCancel(ctx), w.buf, w.totals, reserve)
		if err != nil {
			return fmt.Errorf("append a commit of %d entries, %d bytes: %w", w.entries, len(w.buf), err)
		}
		w.watermark.Add(number, w.oldest)
		if w.cfg.ObserveCommit != nil {
			pings := 0
			for _, j := range w.taken {
				pings += len(j.Pings)
			}
			w.cfg.ObserveCommit(time.Since(began), pings)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &w.stats
	s.add(&w.counts)
	if w.entries > 0 {
		s.Commits++
	}
	s.Totals, s.Holding, s.Riders, s.Evicted = w.totals, w.filter.Holding(), w.filter.Riders(), w.evicted+w.filter.Counts().Evicted
	s.FilterBytes = w.filter.Bytes()
	return nil
}

func (w *Writer) answer(err error) {
	for _, j := range w.taken {
		j.done <- err
	}
	clear(w.taken)
	w.taken = w.taken[:0]
}

// recover runs after an append whose fate is unclear. It refuses the requests of the
// commit, brings the log to a state in which the append can no longer land, and reads
// the filter from the log anew. Requests that wait meanwhile withdraw themselves.
//
// The old filter goes first, so that it judges no more pings and there are never two
// filters in memory. After an error there is no filter.
func (w *Writer) recover(ctx context.Context, cause error) error {
	w.failing.Store(true)
	defer w.failing.Store(false)
	w.cfg.Logger.Error("append to the log failed: its requests are refused, and the filter's state is read from the log anew", "error", cause)
	w.answer(w.refusalNow())
	w.checkpoint.abandon()
	w.dropFilter()
	w.begin()
	if _, _, err := w.log.Settle(ctx, w.buf); err != nil {
		return fmt.Errorf("settle the log after %w: %w", cause, err)
	}
	if err := w.reload(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	w.stats.Reloads++
	w.mu.Unlock()
	w.cfg.Logger.Info("the filter's state was read from the log anew: pings are accepted again", "last", w.log.Last())
	return nil
}

// dropFilter drops the filter, and the rest of its idle pings.
func (w *Writer) dropFilter() {
	w.evicted += w.filter.Counts().Evicted
	w.filter, w.idleMore = nil, false
}

// giveUp ends Run when there is no filter to go on with. If Run was told to stop, that
// is no failure, because the log holds every answered ping.
func (w *Writer) giveUp(ctx context.Context, err error) error {
	w.waiting.stop()
	if ctx.Err() == nil {
		return err
	}
	w.cfg.Logger.Warn("stopped before the state was read anew: held pings stay in the log until the next start", "error", err)
	return nil
}

// KeepHeld has Run leave held pings held in the log when it ends, and save nothing: another node goes on
// at once, and holds them.
func (w *Writer) KeepHeld() { w.keepsHeld.Store(true) }

// shutdown stores the held pings, a commit at a time, and saves the filter's state. A
// ping that cannot be stored stays held in the log.
func (w *Writer) shutdown(ctx context.Context) error {
	w.waiting.stop()
	if w.keepsHeld.Load() {
		w.checkpoint.abandon()
		return nil
	}
	for more := true; more; {
		w.begin()
		err := w.trouble
		if err == nil {
			more = w.filter.Flush(&w.batch, w.flushMost())
			w.logBatch(0, nil)
			err = w.append(ctx, true)
		}
		if err != nil {
			// The filter has flushed pings that the log does not have as stored, so its
			// state must not be saved.
			w.cfg.Logger.Error("not all held pings could be stored: held pings stay in the log until the next start", "error", err)
			w.checkpoint.abandon()
			w.dropFilter()
			return nil
		}
	}
	if w.log.Shared() { // riders wait for the next owner, who reads a few commits sooner than a whole state: see Save
		w.checkpoint.abandon()
		return nil
	}
	w.checkpoint.finish(w.filter, w.log)
	return nil
}

// maxHeld bounds the bytes of a held ping that is stored.
func (w *Writer) maxHeld() int {
	if w.filter.HasAttrs() {
		return pingline.MaxEntrySize + 2 + pingline.MaxAttrs
	}
	return pingline.MaxEntrySize
}

// flushPings is about the number of held pings that a commit stores.
const flushPings = 3000

// flushMost is flushPings, or fewer if the log's records are too small for so many.
func (w *Writer) flushMost() int {
	return max(1, min(flushPings, (w.log.MaxPayload()-commitSlack)/w.maxHeld()-2))
}

// Failing reports whether the log has stopped taking commits.
func (w *Writer) Failing() bool { return w.failing.Load() }

// Stats returns the counts as of the last commit.
func (w *Writer) Stats() WriterStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.stats
	s.Busy = time.Duration(w.busy.Load())
	return s
}

// Unready returns why no pings are accepted, or "" if they are.
func (w *Writer) Unready() string {
	cause := w.log.Trouble()
	switch {
	case cause != nil:
		return cause.Error()
	case w.failing.Load():
		return "the log does not answer"
	case w.log.Room() < int64(w.cfg.MaxCommit):
		return "the log is full"
	case w.cfg.Overload.Policy().OnlyEvents:
		return "overloaded"
	}
	return ""
}
