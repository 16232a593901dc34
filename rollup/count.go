package rollup

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"

	"pingline"
	"pingline/partition"
	"pingline/queue"
)

// take counts the pings of a commit. One that a newer version has written it does
// not pass over.
func (r *Rollup) take(ctx context.Context, rec *queue.Record) error {
	header, entries, err := pingline.DecodeCommit(rec.Payload)
	if errors.Is(err, pingline.ErrNewer) {
		return fmt.Errorf("rollup: commit %d of the log: %w", rec.Number, err)
	}
	seen, missing := uint64(0), uint64(0)
	if err == nil {
		seen, err = r.count(&entries, r.advance(ctx, rec, header.At))
	}
	if err != nil {
		r.cfg.Logger.Error("a commit cannot be read to its end", "number", rec.Number, "error", err)
		missing = rec.Totals.Sub(rec.Before)[pingline.TotalPings]
		missing -= min(missing, seen)
	}
	r.passed(rec.Number, rec.Totals, missing)
	if r.clock >= r.nextTurn {
		r.turn(ctx, r.clock)
	}
	return nil
}

// lost passes commits that the log has lost.
func (r *Rollup) lost(e *queue.DamageError) {
	totals := r.next.Totals
	for i, n := range e.Lost {
		totals[i] += n
	}
	r.passed(e.To, totals, e.Lost[pingline.TotalPings])
}

// passed takes note that all up to commit number is counted but for some pings
// that are lost: the totals of their windows are too small.
func (r *Rollup) passed(number uint64, totals queue.Totals, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = queue.Cursor{Next: number + 1, Totals: totals}
	r.stats.Damaged += lost
}

// advance moves the clock to a commit and returns where that stands.
//
// The clock is the latest time of a commit. It decides which pings are late, so
// it would shut out everything for as long as a wrong clock was ahead: when it
// falls back by more than the lateness, it starts over.
func (r *Rollup) advance(ctx context.Context, rec *queue.Record, time int64) position {
	if time < r.clock-r.lateness {
		r.startOver(ctx, time)
	}
	at := position{queue.Cursor{Next: rec.Number, Totals: rec.Before}, r.clock}
	r.clock = max(r.clock, time)
	if at.clock >= r.marks[len(r.marks)-1].clock+turnEvery {
		r.marks = append(r.marks, at)
	}
	for len(r.marks) > 1 && r.marks[1].clock < r.clock-lookBack {
		r.marks = slices.Delete(r.marks, 0, 1) // all before the next came at its clock or earlier
	}
	return at
}

// startOver closes all windows, as the clock falls back to a time. Those that
// were opened by then stay closed.
func (r *Rollup) startOver(ctx context.Context, time int64) {
	r.cfg.Logger.Warn("the clock of the log has gone back; the roll-up starts over", "ms", r.clock-time)
	for level := len(r.windows) - 1; level >= 0; level-- {
		for len(r.windows[level]) > 0 {
			r.closeEarly(ctx, r.windows[level][0])
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, length := range r.lengths {
		r.record.Shut[i] = min(r.record.Shut[i], floor(time+r.cfg.MaxAhead.Milliseconds(), length)+length)
	}
	r.tracks.forget(time)
	r.view.reset()
	r.clock, r.nextTurn = time, time
	r.marks = append(r.marks[:0], position{r.next, time})
}

// count counts the entries of the commit at, and returns how many pings it has.
func (r *Rollup) count(entries *pingline.Entries, at position) (pings uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fresh {
		r.begin(r.clock)
	}
	r.hot, r.room = nil, r.roomLeft()
	e := &r.entry
	for {
		more, err := entries.Next(e)
		if !more {
			return pings, err
		}
		if e.Kind == pingline.Judged && !e.Promoted {
			pings++
			r.ping(e, at)
		}
	}
}

// ping counts one ping of the commit at.
func (r *Rollup) ping(e *pingline.Entry, at position) {
	rider := riderHash(r.seed, e.Rider)
	if r.moves(e, rider) {
		rider |= movingBit
	}
	w := r.hot
	if w == nil || e.At < w.from || e.At >= w.until {
		if w = r.windowOf(e, at); w == nil {
			return
		}
		r.hot = w
	}
	if r.memory.used+r.memory.spare > r.room && (r.full || !r.relieve()) {
		r.full = true
		r.stats.LeftOut++
		return
	}
	cell := r.cells.Of(&e.Fix)
	if w.res > 0 {
		cell = partition.Parent(cell, r.cfg.Resolutions[w.res])
	}
	used := r.memory.used
	w.aggregate(&r.memory, cell).add(&r.memory, e, at.Next, rider)
	w.bytes += r.memory.used - used
	w.last = at.Next
	if at.Next >= r.began {
		r.stats.Pings++
	}
}

// moves reports whether a ping shows its rider moving.
func (r *Rollup) moves(e *pingline.Entry, rider uint64) bool {
	if e.Has(pingline.HasSpeed) {
		return e.Speed >= movingSpeed
	}
	track := rider
	if e.Device != "" {
		track ^= bits.RotateLeft64(maphash.String(r.seed, e.Device), 32)
	}
	return r.tracks.moved(track, &e.Fix, r.clock)
}

// windowOf returns the shortest window of a ping, or nil if that is closed.
func (r *Rollup) windowOf(e *pingline.Entry, at position) *window {
	until := floor(e.At, r.lengths[0]) + r.lengths[0]
	if until+r.lateness > r.clock {
		if w := r.window(0, e.At, at); w != nil {
			return w
		}
	}
	switch {
	case at.Next < r.began: // counted, or found late, before the restart
	case until <= r.missed:
		r.stats.LeftOut++
	default:
		r.stats.Late++
	}
	return nil
}
