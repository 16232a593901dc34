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

// take counts the pings of a commit. A commit that a newer version wrote is an
// error, and is not passed over.
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

// passed records that all commits up to number are counted, except for lost
// pings: the totals of their windows are too small.
func (r *Rollup) passed(number uint64, totals queue.Totals, lost uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = queue.Cursor{Next: number + 1, Totals: totals}
	r.stats.Damaged += lost
}

// advance moves the clock to a commit and returns the position of the commit.
//
// The clock is the latest time of a commit. It decides which pings are late, so
// a clock that was wrong and ahead would shut out every ping until the right
// time has passed it. So when commits fall back by more than the lateness, the
// clock starts over.
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
		r.marks = slices.Delete(r.marks, 0, 1) // every commit before the next mark came at its clock or earlier
	}
	return at
}

// startOver closes all windows, as the clock falls back to a time. Windows
// that had begun by that time stay closed.
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
	for more := true; more; {
		batch := r.batch[:0]
		for len(batch) < len(r.batch) {
			if more, err = entries.Next(&r.entry); !more {
				break
			}
			if e := &r.entry; e.Kind == pingline.Judged && !e.Promoted {
				batch = append(batch, sighting{fix: e.Fix, rider: r.rider(e)})
			}
		}
		r.lookUp(batch)
		for i := range batch {
			r.ping(&batch[i], at)
		}
		pings += uint64(len(batch))
	}
	return pings, err
}

// together is how many pings are looked up at once. With many riders and cells most time
// is spent waiting for memory, and so the waits overlap.
const together = 64

// sighting is a ping on its way into a window.
type sighting struct {
	fix   pingline.Fix
	rider uint64
	cell  uint64 // of the finest resolution
	near  int32  // where the hot window has the cell's aggregate, if it has it
}

// lookUp finds the cells of a batch, and reads the memory that counting it will need.
func (r *Rollup) lookUp(batch []sighting) {
	touched := uint64(0)
	for i := range batch {
		touched += r.cells.Touch(&batch[i].fix)
	}
	for i := range batch {
		batch[i].cell = r.cells.Of(&batch[i].fix)
	}
	if w := r.hot; w != nil && w.res == 0 && len(w.aggregates) > 0 {
		for i := range batch {
			batch[i].near = w.at[batch[i].cell]
		}
		for i := range batch {
			touched += w.aggregates[batch[i].near].riders.touch(batch[i].rider)
		}
	}
	r.touched += touched
}

// ping counts a ping of the commit at.
func (r *Rollup) ping(s *sighting, at position) {
	w := r.hot
	if w == nil || s.fix.At < w.from || s.fix.At >= w.until {
		if w = r.windowOf(s.fix.At, at); w == nil {
			return
		}
		r.hot = w
	}
	if r.memory.used+r.memory.spare > r.room && (r.full || !r.relieve()) {
		r.full = true
		r.stats.LeftOut++
		return
	}
	cell := s.cell
	if w.res > 0 {
		cell = partition.Parent(cell, r.cfg.Resolutions[w.res])
	}
	used := r.memory.used
	w.aggregate(&r.memory, cell, s.near).add(&r.memory, &s.fix, at.Next, s.rider)
	w.bytes += r.memory.used - used
	w.last = at.Next
	if at.Next >= r.began {
		r.stats.Pings++
	}
}

// rider returns the rider of a ping, and whether the ping shows it moving.
func (r *Rollup) rider(e *pingline.Entry) uint64 {
	rider := riderHash(r.seed, e.Rider)
	if r.moves(e, rider) {
		rider |= movingBit
	}
	return rider
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

// windowOf returns the shortest window of a ping's time, or nil if the window is
// closed.
func (r *Rollup) windowOf(time int64, at position) *window {
	until := floor(time, r.lengths[0]) + r.lengths[0]
	if until+r.lateness > r.clock {
		if w := r.window(0, time, at); w != nil {
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
