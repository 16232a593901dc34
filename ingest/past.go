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
	next    uint64 // number of the commit to be replayed next
	behind  bool   // a commit was replayed: totals are those before next
	totals  queue.Totals
	missing bool // commits before next, in the log or before it, are not known
	erased  bool // see Erased
	steps   watermark.Earliest
	some    [dedupe.Ahead]pingline.Entry
}

// NewPast returns the state before commit first, the first that a log has.
func NewPast(cfg dedupe.Config, first uint64) (*Past, error) {
	filter, err := dedupe.New(cfg)
	if err != nil {
		return nil, err
	}
	p := &Past{filter: filter, next: first, missing: first > 1}
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
	p := &Past{filter: filter, next: next}
	p.steps.Reset(next)
	return p, err
}

// Next returns the number of the commit that is to be replayed next.
func (p *Past) Next() uint64 { return p.next }

// Erased reports whether a commit that was replayed is the mark of an Erase: its rider may be known
// here still, and the state is of no use to a writer that is not told so.
func (p *Past) Erased() bool { return p.erased }

// Fits reports whether rec goes on where the state ends: it has the next number, and the totals before it are those behind
// the commit that was replayed last.
func (p *Past) Fits(rec *queue.Record) bool {
	return rec.Number == p.next && (!p.behind || rec.Before == p.totals)
}

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
	oldest, err := p.replay(rec.Number, &h, &entries)
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

// replay replays a commit, and returns the time, ms, before which readers see the
// same without the commit.
func (p *Past) replay(number uint64, h *pingline.CommitHeader, entries *pingline.Entries) (oldest int64, err error) {
	p.filter.Clock(h.At)
	bound := dedupe.Bound{MaxError: float64(h.MaxError), AccuracyCap: float64(h.AccuracyCap)}
	oldest = math.MaxInt64
	for n := 0; ; {
		e := &p.some[n]
		ok, err := entries.Next(e)
		switch {
		case err != nil:
			return 0, err
		case ok && e.Kind == pingline.Judged:
			n++
		case ok && e.Stored():
			oldest = min(oldest, storedAt(e))
		case ok && e.Point != nil && e.Point.Name == ErasureMark:
			p.erased = true
		}
		if !ok || n == len(p.some) {
			oldest = min(oldest, p.filter.Replay(number, bound, p.some[:n]))
			n = 0
		}
		if !ok {
			return oldest, nil
		}
	}
}
