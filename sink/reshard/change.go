package reshard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/resume"
)

// Intent is a change that may be started.
type Intent struct {
	ID       string `json:"id"`
	Do       string `json:"do"`
	Old      Spread `json:"old"`
	New      Spread `json:"new"`
	Mirrored bool   `json:"mirrored"` // both layouts are written until it is finished
	Move     *Move  `json:"move,omitempty"`
}

// RefusedError says why a change is not made.
type RefusedError struct{ Why string }

func (e *RefusedError) Error() string { return e.Why }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// Plan returns what an order would do, or a *RefusedError. It changes nothing.
func (e *Eras) Plan(o Order) (*Intent, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	rec := e.record()
	if rec.Phase != Settled {
		return nil, refuse("%s (%s) is going on, in phase %s: finish or abort it first", rec.ID, rec.Do, rec.Phase)
	}
	was := rec.InForce()
	now, err := o.apply(was)
	if err != nil {
		return nil, &RefusedError{err.Error()}
	}
	for _, kind := range sortedKeys(e.cfg.Routes) {
		name := e.cfg.Shards[e.cfg.Routes[kind]].Name
		if slices.Contains(was.Names(), name) && !slices.Contains(now.Names(), name) {
			return nil, refuse("%s: --route %s leads to %s, which would still be written: change the route first", o.String(), kind, name)
		}
	}
	id := nextID(rec.ID)
	if o.ID != "" {
		if Number(o.ID) < Number(id) {
			return nil, refuse("%s is over here: the last is %s", o.ID, rec.ID)
		}
		id = o.ID
	}
	return &Intent{id, o.String(), was, now, o.mirrored(), o.Move}, nil
}

func nextID(id string) string { return fmt.Sprint("r-", Number(id)+1) }

// record returns the record, or that of the flags. The caller holds mu.
func (e *Eras) record() *SetRecord {
	if e.rec != nil {
		return e.rec
	}
	s := e.flags()
	return &SetRecord{Form: recordForm, Phase: Settled, New: s, Eras: []Era{{N: 1, Spread: s}}, Last: 1}
}

// Start starts a change; stores are those of shards that are not known so far. Rows are written
// by the new layout from the returned number of a commit on, or if the change is mirrored by
// both. An error that is no *RefusedError means that nothing has changed.
func (e *Eras) Start(o Order, stores []sink.ShardStore) (_ *Intent, _ uint64, err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	d, err := e.Plan(o)
	if err != nil {
		return nil, 0, err
	}
	forget, err := e.learn(d, stores)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			forget()
		}
	}()
	end, phase := e.those(func(r *eraSink) bool { return r.End == nil && !r.Era.mirror() }), Cut
	if d.Mirrored {
		end, phase = nil, Dual
	}
	at, err := e.turn(nil, end, func(rec *SetRecord, at queue.Cursor) {
		e.passed.stats, e.mirror = joinAll(e.passed.stats, e.mirror.stats), books{}
		rec.ID, rec.Do, rec.Old, rec.New, rec.LetGo, rec.Refused, rec.Move, rec.Ahead = d.ID, d.Do, d.Old, d.New, nil, 0, d.Move, nil
		rec.enter(phase)
		if d.Mirrored {
			rec.begin(d.New, d.Old, at)
		} else {
			rec.begin(d.New, nil, at)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	return d, at.Next, nil
}

// learn makes the stores of a change known, and the record if there is none yet; forget takes
// that back. It refuses what no sink would take, before any lane has to wait.
func (e *Eras) learn(d *Intent, stores []sink.ShardStore) (forget func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	shards := slices.Clone(e.shards)
	for _, sh := range stores {
		if _, known := find(shards, sh.Name); !known {
			shards = append(shards, sh)
		}
	}
	if err := fits(d, shards); err != nil {
		return nil, err
	}
	was, first := e.shards, e.rec == nil
	e.shards = shards
	if first {
		e.rec = e.record()
		for _, r := range e.running {
			r.Spread = e.rec.New
		}
	}
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.shards = was; first {
			e.rec = nil
		}
	}, nil
}

func find(shards []sink.ShardStore, name string) (s sink.ShardStore, known bool) {
	i := slices.IndexFunc(shards, func(s sink.ShardStore) bool { return s.Name == name })
	if i < 0 {
		return s, false
	}
	return shards[i], true
}

// fits returns an error if one of shards, which are known, cannot be where a change puts it.
func fits(d *Intent, shards []sink.ShardStore) error {
	var now, before []sink.ShardStore
	for _, name := range d.New.Names() {
		s, known := find(shards, name)
		if !known {
			return refuse("add: shard %s is not known: name it with its url", name)
		}
		now = append(now, s)
	}
	for _, name := range d.Old.Names() {
		if s, known := find(shards, name); known && !slices.Contains(d.New.Names(), name) {
			before = append(before, s)
		}
	}
	if err := sink.Together(now, before...); err != nil {
		return &RefusedError{err.Error()}
	}
	return nil
}

// Fits returns a *RefusedError if shards of a change cannot be where it puts them. fresh are
// stores of shards that are not known so far.
func (e *Eras) Fits(d *Intent, fresh []sink.ShardStore) error {
	return fits(d, slices.Concat(e.Shards(), fresh))
}

// Cut puts the new layout in force, and has the old one mirror it. It is refused while the
// mirror lacks rows or is far behind, unless it is forced: readers ask both anyway.
func (e *Eras) Cut(force bool) (number uint64, err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	rec, end := e.Record(), e.those(func(r *eraSink) bool { return r.End == nil })
	if rec.Phase != Dual {
		return 0, refuse("there is nothing to cut over in phase %s", rec.Phase)
	}
	if why := e.unready(); why != "" && !force {
		return 0, refuse("%s: wait, or --force", why)
	}
	at, err := e.turn(nil, end, func(rec *SetRecord, at queue.Cursor) {
		rec.enter(Cut)
		rec.LetGo, rec.Refused = nil, 0
		rec.begin(rec.New, nil, at)
		rec.begin(rec.Old, rec.New, at)
	})
	return at.Next, err
}

// mirrorNear is how far a mirror may be behind for its layout to be put in force.
const mirrorNear = 10 * time.Second

// unready returns why the mirror cannot take over, or "".
func (e *Eras) unready() string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	rec, behind := e.record(), time.Duration(0)
	for _, r := range e.running {
		if r.End == nil && r.Era.mirror() {
			for _, st := range r.Sink.Stats() {
				behind = max(behind, st.Oldest)
			}
		}
	}
	switch {
	case len(rec.LetGo) > 0:
		return fmt.Sprintf("the mirror gave up rows of %s, and the new layout lacks them", strings.Join(rec.LetGo, ", "))
	case behind > mirrorNear:
		return fmt.Sprintf("the mirror is %.0f s behind", behind.Seconds())
	case rec.Refused > 0:
		return fmt.Sprintf("%d rows of the mirror are dead letters: pingline deadletter list", rec.Refused)
	}
	return ""
}

// Finish ends a change: the new layout alone is written. Shards that are in no layout any more
// are read until no flag names them, since their rows stay there.
func (e *Eras) Finish() error {
	e.changing.Lock()
	defer e.changing.Unlock()
	rec := e.Record()
	if rec.Phase != Cut {
		return refuse("there is nothing to finish in phase %s%s", rec.Phase, map[ChangePhase]string{Dual: ": cut over first"}[rec.Phase])
	}
	_, err := e.turn(e.those(mirrorOf(rec.Old)), nil, func(rec *SetRecord, _ queue.Cursor) {
		rec.Read = addNames(rec.Read, rec.Old.Names()...)
		rec.settle(rec.New)
	})
	return err
}

// mirrorOf finds the mirrors that write a layout.
func mirrorOf(s Spread) func(*eraSink) bool {
	return func(r *eraSink) bool { return r.Era.mirror() && slices.Equal(r.Spread, s) }
}

// those returns some of the eras.
func (e *Eras) those(is func(*eraSink) bool) (list []*eraSink) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		if is(r) {
			list = append(list, r)
		}
	}
	return list
}

// Abort puts the old layout in force again. Rows that only the new shards have stay readable:
// Record.Read names those shards. clean notes that whoever moved history deletes what was copied,
// and is refused in Cut: then the new shards have rows that were written there in the first place.
func (e *Eras) Abort(clean bool) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	rec := e.Record()
	switch {
	case clean && rec.Move == nil && rec.Phase != Settled:
		return refuse("--clean: %s copies no history: abort without it", rec.ID)
	case clean && rec.Phase == Cut:
		return refuse("--clean: since the cut, rows are written to %s in the first place, and they are kept: abort without it", strings.Join(without(rec.New.Names(), rec.Old.Names()), ", "))
	}
	switch rec.Phase {
	case Dual:
		_, err := e.turn(e.those(mirrorOf(rec.New)), nil, func(rec *SetRecord, _ queue.Cursor) {
			if clean {
				rec.Move = &Move{Rate: rec.Move.Rate, Clean: true}
			}
			rec.settle(rec.Old)
		})
		return err
	case Cut:
		return e.back(rec.New)
	}
	return refuse("there is nothing to abort in phase %s", rec.Phase)
}

// back goes back from Cut. The old layout begins where the lanes of the new one stand, so that no row
// waits for a new shard any more. The mirror goes on up to the head of the log: then the old shards
// have all.
func (e *Eras) back(aborted Spread) error {
	open := func(mirror bool) func(*eraSink) bool {
		return func(r *eraSink) bool { return r.End == nil && r.Era.mirror() == mirror }
	}
	primary, mirror := e.those(open(false)), e.those(open(true))
	_, err := e.turn(append(primary, e.those(mirrorOf(aborted))...), mirror, func(rec *SetRecord, _ queue.Cursor) {
		if len(mirror) == 0 || len(rec.LetGo) > 0 {
			rec.Read = addNames(rec.Read, rec.New.Names()...)
		}
		from, lines := resume.Stands(e.cfg.Log, primary[0].space(e.cfg.Set))
		era := rec.begin(rec.Old, nil, from)
		era.From.Totals[pingline.TotalLines], era.lines = lines.Totals[pingline.TotalLines], &lines
		rec.settle(rec.Old)
	})
	return err
}

// Record returns the state of the set.
func (e *Eras) Record() *SetRecord {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.record().clone()
}

// Weight returns the layout in force, for those who weigh shards.
func (e *Eras) Weight() *partition.Shards {
	e.mu.RLock()
	defer e.mu.RUnlock()
	s, err := partition.NewShards(e.record().InForce()...)
	if err != nil {
		panic(err) // it was checked
	}
	return s
}
