package reshard

import (
	"math"
	"slices"

	"pingline/sink/limit"
)

// Routed reports whether a route leads a kind to a place of its own, which no layout changes.
func (e *Eras) Routed(kind string) bool {
	_, routed := e.cfg.Routes[kind]
	return routed
}

// Before returns the number of the first commit that the old layout may have to itself no more,
// and that of the first commit which it may not have completely yet: all of before the change is
// in the old shards once the second has come to the first. Without a mirror that goes on, and
// with nothing left of before, the first is 0.
func (e *Eras) Before() (from, written uint64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	written = math.MaxUint64
	for _, r := range e.running {
		switch {
		case !r.Era.mirror():
			if n := r.Lowest(); r.End == nil || n < r.End.Next {
				written = min(written, n)
			}
			if r.End != nil {
				from = max(from, r.End.Next)
			}
		case r.End == nil:
			from = max(from, r.Era.From.Next)
		}
	}
	return from, written
}

// Head returns the number of the newest commit.
func (e *Eras) Head() uint64 { return e.cfg.Log.Last() }

// Unread notes that shards which are read only have nothing any more that the layout in force
// does not have elsewhere: they are not asked any more, and may go. It is of the last change, or
// nothing.
func (e *Eras) Unread(id string, names ...string) error {
	return e.amend(func(rec *SetRecord) {
		if rec.ID == id && rec.Phase == Settled {
			rec.Read = without(rec.Read, names)
		}
	})
}

// Filled notes that the rows of some days which a mirror gave up were copied since.
func (e *Eras) Filled(days []string) error {
	return e.amend(func(rec *SetRecord) { rec.LetGo = without(rec.LetGo, days) })
}

// amend changes the record, and makes that durable.
func (e *Eras) amend(change func(rec *SetRecord)) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec == nil {
		return nil
	}
	rec := e.rec.clone()
	if change(rec); slices.Equal(rec.Read, e.rec.Read) && slices.Equal(rec.LetGo, e.rec.LetGo) {
		return nil
	}
	e.note(rec)
	return e.cfg.Log.KeepCursors()
}

// Latch returns the latch of a shard, which the writes of all eras enter.
func (e *Eras) Latch(shard string) *limit.Latch {
	l, ok := e.latches.Load(shard)
	if !ok {
		l, _ = e.latches.LoadOrStore(shard, new(limit.Latch))
	}
	return l.(*limit.Latch)
}
