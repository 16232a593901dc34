package reshard

import (
	"errors"
	"slices"

	"pingline/queue"
	"pingline/sink"
	"pingline/sink/batch"
	"pingline/sink/resume"
)

// errStopping refuses a change.
var errStopping = errors.New("the node does not run, or is about to stop")

// cutOver makes a change of the record durable: the eras of end end at the same place, and those
// that next begins there begin. The caller holds changing.
func (e *Eras) cutOver(end []*eraSink, next func(rec *SetRecord, at queue.Cursor)) (at queue.Cursor, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.group == nil || e.ctx.Err() != nil {
		return at, errStopping
	}
	rec, was := e.rec.clone(), resume.Eras(e.cfg.Log, e.cfg.Set)
	last := rec.Last
	var fences []*batch.Fence
	for _, r := range end {
		fences = append(fences, r.fence)
	}
	at = batch.Propose(e.cfg.Log, fences...)
	for _, r := range end {
		i := slices.IndexFunc(rec.Eras, func(era Era) bool { return era.N == r.N })
		rec.Eras[i].End = &at
	}
	next(rec, at)
	begun, err := e.keep(rec, was, last)
	if err != nil {
		for _, f := range fences {
			f.Withdraw()
		}
		return at, err
	}
	for _, f := range fences {
		f.Keep()
	}
	for _, r := range end {
		r.End = &at
	}
	e.rec = rec
	for _, r := range begun {
		e.running = append(e.running, r)
		e.start(r)
	}
	return at, nil
}

// keep makes a record durable, with the positions of the eras behind the last, and opens their
// sinks. If that fails, the log is as it was.
func (e *Eras) keep(rec *SetRecord, was string, last int) (begun []*eraSink, err error) {
	var change, back queue.Change
	var eras []Era
	for _, era := range rec.Eras {
		if era.N <= last {
			continue
		}
		if err := e.beginIn(&change, era); err != nil {
			return nil, err
		}
		eras = append(eras, era)
	}
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	resume.NoteEras(&back, e.cfg.Set, was)
	e.cfg.Log.Change(change) // as a whole, since it may be kept at any time
	for _, era := range eras {
		resume.Drop(&back, e.cfg.Log, era.space(e.cfg.Set))
		if err == nil {
			var r *eraSink
			r, err = e.newSink(era)
			begun = append(begun, r)
		}
	}
	if err == nil {
		err = e.cfg.Log.KeepCursors()
	}
	if err != nil {
		e.cfg.Log.Change(back)
		return nil, errors.Join(err, e.cfg.Log.KeepCursors())
	}
	return begun, nil
}

// drop ends the sinks of eras at once, and forgets what waits for them. The caller holds
// changing.
func (e *Eras) drop(which func(*eraSink) bool, then func(rec *SetRecord)) error {
	e.mu.RLock()
	if e.group == nil || e.ctx.Err() != nil {
		e.mu.RUnlock()
		return errStopping
	}
	var list []*eraSink
	for _, r := range e.running {
		if which(r) {
			list = append(list, r)
		}
	}
	e.mu.RUnlock()
	for _, r := range list {
		r.stop()
		<-r.done
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	rec, was := e.rec.clone(), e.rec.String()
	rec.Eras = slices.DeleteFunc(rec.Eras, func(era Era) bool {
		return slices.ContainsFunc(list, func(r *eraSink) bool { return r.N == era.N })
	})
	then(rec)
	counts := make(map[*eraSink]func())
	var change queue.Change
	for _, r := range list {
		// Rows that a mirror has not come to are in the shards beside it alone.
		rec.Read = addNames(rec.Read, without(r.Beside.Names(), rec.InForce().Names())...)
		if r.End == nil {
			at := batch.Propose(e.cfg.Log, r.fence)
			r.End = &at
		}
		a, st := r.Account(), r.Stats() // before its cursors go: it may move them
		counts[r] = func() {
			for _, t := range []*sink.Tally{&a.Pings, &a.Lines} {
				t.GivenUp, t.Queued = t.GivenUp+t.Queued, 0
			}
			e.books(r).add(&r.Era, a, st)
		}
		resume.Drop(&change, e.cfg.Log, r.space(e.cfg.Set))
	}
	back := undo(e.cfg.Log, change)
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	if err := e.cfg.Log.KeepCursors(); err != nil {
		resume.NoteEras(&back, e.cfg.Set, was)
		e.cfg.Log.Change(back)
		return errors.Join(err, e.restart(list))
	}
	for _, r := range list {
		counts[r]()
		e.running = slices.DeleteFunc(e.running, func(o *eraSink) bool { return o == r })
	}
	e.rec = rec
	return nil
}

// undo returns the change that takes back a change which drops cursors and notes.
func undo(log *queue.Log, change queue.Change) queue.Change {
	back := queue.Change{Set: make(map[string]queue.Cursor), Notes: make(map[string]string)}
	for _, name := range change.Drop {
		back.Set[name], _ = log.Cursor(name)
	}
	for name := range change.Notes {
		back.Notes[name] = log.Note(name)
	}
	return back
}

// restart opens eras again whose sinks have ended. The caller holds mu.
func (e *Eras) restart(list []*eraSink) error {
	for _, r := range list {
		i := slices.IndexFunc(e.rec.Eras, func(era Era) bool { return era.N == r.N })
		again, err := e.newSink(e.rec.Eras[i])
		if err != nil {
			return err
		}
		e.running[slices.Index(e.running, r)] = again
		e.start(again)
	}
	return nil
}
