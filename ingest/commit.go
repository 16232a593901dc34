package ingest

import (
	"context"
	"fmt"
	"time"

	"pingline"
)

// append makes the commit durable; one without entries is not appended. What
// only settles what is held may use the log's reserve.
func (w *Writer) append(ctx context.Context, reserve bool) error {
	if w.entries > 0 {
		pingline.SetCommitEntries(w.buf, w.entries)
		if w.corrected {
			pingline.SetCommitCorrected(w.buf)
		}
		began := time.Now()
		// The append has a limit of its own: being told to stop does not make
		// its fate known any sooner.
		number, err := w.log.Append(context.WithoutCancel(ctx), w.buf, w.totals, reserve)
		if err != nil {
			return fmt.Errorf("append a commit of %d entries, %d bytes: %w", w.entries, len(w.buf), err)
		}
		w.watermark.add(number, w.oldest)
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

// recover is what follows an append whose fate is unclear: the requests in it
// are refused, the log is brought to a state in which no straggler can land,
// and the filter is read from it anew. Requests that wait meanwhile are
// withdrawn by those who wait.
//
// The old filter goes first, so that nothing can be judged by it any more and
// there are never two at once. After an error there is none.
func (w *Writer) recover(ctx context.Context, cause error) error {
	w.failing.Store(true)
	defer w.failing.Store(false)
	w.cfg.Logger.Error("append failed; reading the state from the log anew", "error", cause)
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
	w.cfg.Logger.Info("the log answers again", "last", w.log.Last())
	return nil
}

// dropFilter forgets the filter, and what it had yet to do.
func (w *Writer) dropFilter() {
	w.evicted += w.filter.Counts().Evicted
	w.filter, w.idleMore = nil, false
}

// giveUp ends Run where there is no filter to go on with. When told to stop that
// is no failure: the log holds all that was promised.
func (w *Writer) giveUp(ctx context.Context, err error) error {
	w.refuseWaiting()
	if ctx.Err() == nil {
		return err
	}
	w.cfg.Logger.Warn("stopped before the state was read anew: held pings stay in the log until the next start", "error", err)
	return nil
}

// shutdown stores what is held, a commit at a time, and saves the filter's
// state. What cannot be stored stays held in the log.
func (w *Writer) shutdown(ctx context.Context) error {
	w.refuseWaiting()
	for more := true; more; {
		w.begin()
		err := w.trouble
		if err == nil {
			more = w.filter.Flush(&w.batch, w.flushMost())
			w.logBatch(0, nil)
			err = w.append(ctx, true)
		}
		if err != nil {
			// The filter has flushed more than the log knows: it is of no more use.
			w.cfg.Logger.Error("held pings stay in the log until the next start", "error", err)
			w.checkpoint.abandon()
			w.dropFilter()
			return nil
		}
	}
	w.checkpoint.finish(w.filter, w.log)
	return nil
}

// refuseWaiting answers the jobs that wait: they are not judged any more.
func (w *Writer) refuseWaiting() {
	for job := w.nextJob(); job != nil; job = w.nextJob() {
		if job.state.CompareAndSwap(jobWaiting, jobTaken) {
			job.done <- errStopped
		}
	}
}

// flushPings is about how many held pings one commit stores.
const flushPings = 3000

// flushMost is how many an empty commit stores on a log whose records are small.
func (w *Writer) flushMost() int {
	return max(1, min(flushPings, (w.log.MaxPayload()-commitSlack)/pingline.MaxEntrySize-2))
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

// Unready says why pings are not being accepted, or "" if they are.
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
