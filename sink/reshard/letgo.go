package reshard

import (
	"cmp"
	"slices"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/resume"
)

// A mirror may lack rows, and then the shards that have them must be read although no layout has
// them any more. A note of it is in the log before the cursors of the mirror's lanes move: so it
// is on disk if they are.

// watchLacks has notes be made of rows that the sink of an era leaves out, or leaves to another
// shard.
func (e *Eras) watchLacks(era Era, gaveUp *func(*pingline.Entry), refused *func(int), stoodIn *func(string)) {
	if !era.mirror() {
		*stoodIn = e.stoodIn
		return
	}
	*gaveUp = func(entry *pingline.Entry) {
		day := "unknown"
		if ms, ok := entry.StoredAt(); ok {
			day = time.UnixMilli(ms).UTC().Format(time.DateOnly)
		}
		e.lacks(era, day)
	}
	*refused = func(rows int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		rec := e.rec.clone()
		rec.lacks(era)
		if rec.tells(era.N) {
			rec.Refused += uint64(rows)
		}
		e.note(rec)
	}
}

// lacks notes a day of rows that a mirror gave up.
func (e *Eras) lacks(era Era, day string) {
	e.mu.RLock()
	known := e.rec.knows(era, day)
	e.mu.RUnlock()
	if known {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := e.rec.clone()
	rec.lacks(era)
	if rec.tells(era.N) {
		rec.LetGo = addNames(rec.LetGo, day)
	}
	e.logger.Warn("the log is filling up: the oldest of what waits for a mirror is given up", "set", cmp.Or(e.cfg.Set, "main"), "change", rec.ID, "day", day)
	e.note(rec)
}

// stoodIn notes that a shard took rows of another. If both layouts have that other one, no mirror
// gets those rows.
func (e *Eras) stoodIn(shard string) {
	known := func() bool {
		return e.rec == nil || e.rec.Phase == Settled && slices.Contains(e.rec.New.Names(), shard) ||
			slices.Contains(e.rec.Old.Names(), shard) || slices.Contains(e.rec.Read, shard)
	}
	e.mu.RLock()
	is := known()
	e.mu.RUnlock()
	if is {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !known() {
		rec := e.rec.clone()
		rec.Read = addNames(rec.Read, shard)
		e.note(rec)
	}
}

// note puts a record into the log. The caller holds mu.
func (e *Eras) note(rec *SetRecord) {
	var change queue.Change
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	e.rec = rec
}
