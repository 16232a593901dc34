package reshard

import (
	"errors"
	"slices"

	"pingline/queue"
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
	var change, back queue.Change
	var begun []*eraSink
	for _, era := range rec.Eras {
		if era.N <= last {
			continue
		}
		var r *eraSink
		if err == nil {
			if err = e.beginIn(&change, era); err == nil {
				e.cfg.Log.Change(change)
				if r, err = e.newSink(era); err == nil {
					begun = append(begun, r)
				}
			}
			resume.Drop(&back, e.cfg.Log, era.space(e.cfg.Set))
		}
	}
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	resume.NoteEras(&back, e.cfg.Set, was)
	if err == nil {
		e.cfg.Log.Change(change)
		err = e.cfg.Log.KeepCursors()
	}
	if err != nil {
		e.cfg.Log.Change(back)
		err = errors.Join(err, e.cfg.Log.KeepCursors())
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
	for _, r := range list {
		a, st := r.Account(), r.Stats() // before its cursors go: it may move them
		counts[r] = func() { e.books(r).add(r, a, st) }
	}
	cursors := e.cfg.Log.Cursors()
	change, back := queue.Change{}, queue.Change{Set: make(map[string]queue.Cursor)}
	for _, r := range list {
		space := r.space(e.cfg.Set)
		for name, at := range cursors {
			if of, ok := resume.SpaceOf(name); ok && of == space {
				back.Set[name] = at
			}
		}
		resume.Drop(&change, e.cfg.Log, space)
	}
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

// restart opens eras again whose sinks have ended. The caller holds mu.
func (e *Eras) restart(list []*eraSink) error {
	for _, r := range list {
		again, err := e.newSink(r.Era)
		if err != nil {
			return err
		}
		e.running[slices.Index(e.running, r)] = again
		e.start(again)
	}
	return nil
}
