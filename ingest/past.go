package ingest

import (
	"errors"
	"fmt"
	"math"

	"pingline"
	"pingline/dedupe"
	"pingline/internal/statefile"
	"pingline/internal/watermark"
	"pingline/queue"
)

// Past is the filter's state as a checkpoint and the commits behind it make it, for a writer to begin
// with. A node that waits for the log of another may have read it along. It is for a single goroutine.
type Past struct {
	filter  *dedupe.Filter
	from    uint64 // number of the first commit that was, or is to be, replayed
	next    uint64 // number of the next
	behind  bool   // a commit was replayed: totals are those before next
	totals  queue.Totals
	missing bool // commits before next, in the log or before it, are not known
	steps   watermark.Earliest
	some    [dedupe.Ahead]pingline.Entry
}

// NewPast returns the state before commit first, the first that a log has.
func NewPast(cfg dedupe.Config, first uint64) (*Past, error) {
	filter, err := dedupe.New(cfg)
	if err != nil {
		return nil, err
	}
	p := &Past{filter: filter, from: first, next: first, missing: first > 1}
	p.steps.Reset(first)
	return p, nil
}

// OpenPast returns the state of the checkpoint at path.
func OpenPast(cfg dedupe.Config, path string) (*Past, error) {
	filter, err := dedupe.New(cfg)
	if err != nil {
		return nil, err
	}
	next, err := statefile.Load(path, filter)
	p := &Past{filter: filter, from: next, next: next}
	p.steps.Reset(next)
	return p, err
}

// Next returns the number of the commit that is to be replayed next.
func (p *Past) Next() uint64 { return p.next }

// Riders returns how many tracks the filter knows.
func (p *Past) Riders() int { return p.filter.Riders() }

// Replay applies the next commit that the log has. It does not judge again, so that neither a changed
// setting nor a newer program changes a verdict. After an error the state is of no use.
func (p *Past) Replay(rec *queue.Record) error {
	h, entries, err := pingline.DecodeCommit(rec.Payload)
	if err != nil {
		return undecodable(rec.Number, err)
	}
	if p.missing { // they may have held pings of any time up to this commit
		p.filter.Damaged(h.At)
		p.missing = false
	}
	oldest, err := replayCommit(p.filter, rec.Number, &h, &entries, &p.some)
	if err != nil {
		return undecodable(rec.Number, err)
	}
	p.steps.Add(rec.Number, oldest)
	p.next, p.totals, p.behind = rec.Number+1, rec.Totals, true
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
