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

// turn makes a change of the record durable: the eras of drop end at once, and what waits for them
// is forgotten; those of end end at the same place; and those that next begins begin. An error
// means that nothing has changed. The caller holds changing.
func (e *Eras) turn(drop, end []*eraSink, next func(rec *SetRecord, at queue.Cursor)) (at queue.Cursor, err error) {
	if err := e.halt(drop); err != nil {
		return at, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.group == nil || e.ctx.Err() != nil {
		return at, errStopping
	}
	rec, last := e.rec.clone(), e.rec.Last
	var fences, halted []*batch.Fence
	for _, r := range end {
		fences = append(fences, r.fence)
	}
	for _, r := range drop {
		if r.End == nil {
			halted = append(halted, r.fence)
		}
	}
	at = batch.Propose(e.cfg.Log, append(fences, halted...)...)
	for _, r := range end {
		rec.era(r.N).End = &at
	}
	rec.Eras = slices.DeleteFunc(rec.Eras, func(era Era) bool {
		return slices.ContainsFunc(drop, func(r *eraSink) bool { return r.N == era.N })
	})
	next(rec, at)
	var change queue.Change
	dropped := e.drop(&change, rec, drop, at)
	begun, err := e.keep(change, rec, last)
	if err != nil {
		for _, f := range fences {
			f.Withdraw()
		}
		return at, errors.Join(err, e.restart(drop))
	}
	for _, r := range end {
		r.fence.Keep()
		r.End = &at
	}
	dropped()
	e.rec = rec
	for _, r := range begun {
		e.running = append(e.running, r)
		e.start(r)
	}
	return at, nil
}

// halt ends sinks at once.
func (e *Eras) halt(list []*eraSink) error {
	e.mu.RLock()
	stopping := e.group == nil || e.ctx.Err() != nil
	e.mu.RUnlock()
	if stopping {
		return errStopping
	}
	for _, r := range list {
		r.stop()
		<-r.done
	}
	return nil
}

// drop adds to a change that eras are dropped, of which the open ones end at a place, and returns
// the function that forgets them. The caller holds mu.
func (e *Eras) drop(change *queue.Change, rec *SetRecord, list []*eraSink, at queue.Cursor) (forget func()) {
	counts := make(map[*eraSink]func())
	for _, r := range list {
		if r.End == nil {
			r.End = &at
		}
		a, st := r.Account(), r.Stats() // before its cursors go: it may move them
		resume.Drop(change, e.cfg.Log, r.space(e.cfg.Set))
		if !r.Era.mirror() { // another era begins where it stands
			counts[r] = func() { e.passed.addStats(st) }
			continue
		}
		// Rows that a mirror has not come to are in the shards beside it alone.
		rec.Read = addNames(rec.Read, without(r.Beside.Names(), rec.InForce().Names())...)
		counts[r] = func() {
			for _, t := range []*sink.Tally{&a.Pings, &a.Lines} {
				t.GivenUp, t.Queued = t.GivenUp+t.Queued, 0
			}
			e.mirror.add(&r.Era, a, st)
		}
	}
	return func() {
		for _, r := range list {
			counts[r]()
			e.running = slices.DeleteFunc(e.running, func(o *eraSink) bool { return o == r })
		}
	}
}

// keep makes a change and a record durable, with the positions of the eras behind the last, and
// opens their sinks. If that fails, the log is as it was.
func (e *Eras) keep(change queue.Change, rec *SetRecord, last int) (begun []*eraSink, err error) {
	eras := slices.DeleteFunc(slices.Clone(rec.Eras), func(era Era) bool { return era.N <= last })
	for _, era := range eras {
		if err := e.beginIn(&change, era); err != nil {
			return nil, err
		}
	}
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	back := undo(e.cfg.Log, change)
	e.cfg.Log.Change(change) // as a whole, since it may be kept at any time
	for _, era := range eras {
		r, err := e.newSink(era)
		if err != nil {
			e.cfg.Log.Change(back)
			return nil, errors.Join(err, e.cfg.Log.KeepCursors())
		}
		begun = append(begun, r)
	}
	if err := e.cfg.Log.KeepCursors(); err != nil {
		e.cfg.Log.Change(back)
		return nil, errors.Join(err, e.cfg.Log.KeepCursors())
	}
	return begun, nil
}

// undo returns the change that takes back a change.
func undo(log *queue.Log, change queue.Change) queue.Change {
	back := queue.Change{Set: make(map[string]queue.Cursor), Notes: make(map[string]string)}
	for name := range change.Set {
		back.Drop = append(back.Drop, name)
	}
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
		again, err := e.newSink(*e.rec.era(r.N))
		if err != nil {
			return err
		}
		e.running[slices.Index(e.running, r)] = again
		e.start(again)
	}
	return nil
}
