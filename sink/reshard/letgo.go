package reshard

import (
	"cmp"
	"slices"
	"time"

	"pingline"
	"pingline/queue"
	"pingline/sink/resume"
)

// gaveUp is called for each row that a mirror gives up.
func (e *Eras) gaveUp(entry *pingline.Entry) {
	day := "unknown"
	if ms, ok := entry.StoredAt(); ok {
		day = time.UnixMilli(ms).UTC().Format(time.DateOnly)
	}
	e.mu.RLock()
	known := slices.Contains(e.rec.LetGo, day) || e.letGo[day]
	e.mu.RUnlock()
	if !known {
		e.mu.Lock()
		e.letGo[day] = true
		e.mu.Unlock()
	}
}

// noteLetGo notes the days of rows that were given up. The caller holds changing.
func (e *Eras) noteLetGo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := e.rec.clone()
	rec.LetGo = addNames(rec.LetGo, sortedKeys(e.letGo)...)
	clear(e.letGo)
	e.noted = time.Now()
	e.logger.Warn("the log is filling up: the oldest of what waits for a mirror is given up", "set", cmp.Or(e.cfg.Set, "main"), "change", rec.ID, "days", rec.LetGo)
	var change queue.Change
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	e.rec = rec
}
