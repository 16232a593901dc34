package reshard

import (
	"maps"
	"slices"

	"pingline/sink"
)

// A change of several logs that share the stores is a change of each of them, of the same ID. Steps
// are made log by log, so each may be met by a log that has made it already.

// Ahead has new shards of a change known and read, before another log has rows in them. texts say how
// to open shards where no flag does; they are kept with the log. It is durable.
func (e *Eras) Ahead(d *Intent, stores []sink.ShardStore, texts map[string]string) (err error) {
	e.changing.Lock()
	defer e.changing.Unlock()
	forget, err := e.learn(d, stores)
	if err != nil {
		return err
	}
	e.mu.Lock()
	before := e.rec
	rec := before.clone()
	rec.Ahead = addNames(slices.Clone(rec.Ahead), without(d.New.Names(), d.Old.Names())...)
	if rec.Stores = maps.Clone(rec.Stores); rec.Stores == nil {
		rec.Stores = make(map[string]string)
	}
	maps.Copy(rec.Stores, texts)
	e.note(rec)
	if err = e.cfg.Log.KeepCursors(); err != nil {
		e.note(before) // it says no more than the flags, or than before
	}
	e.mu.Unlock()
	if err != nil {
		forget()
	}
	return err
}

// NotAhead takes back Ahead, for a change that was refused elsewhere.
func (e *Eras) NotAhead() error {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rec == nil || len(e.rec.Ahead) == 0 {
		return nil
	}
	rec := e.rec.clone()
	rec.Ahead = nil
	e.note(rec)
	return e.cfg.Log.KeepCursors()
}

// Pass notes that a change which is not begun here is over in all logs. It is durable.
func (e *Eras) Pass(id string) error {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := e.record().clone()
	switch {
	case rec.Phase != Settled && rec.ID != id:
		return refuse("%s (%s) is going on, in phase %s", rec.ID, rec.Do, rec.Phase)
	case e.rec == nil || Number(rec.ID) >= Number(id):
		return nil
	}
	rec.ID, rec.Do, rec.Move, rec.Ahead = id, "", nil, nil
	e.note(rec)
	return e.cfg.Log.KeepCursors()
}

// ReadToo has shards be read that may have rows of other logs. It is durable.
func (e *Eras) ReadToo(names ...string) error {
	return e.amend(func(rec *SetRecord) {
		for _, name := range without(names, rec.New.Names()) {
			if e.known(name) != nil {
				rec.Read = addNames(rec.Read, name)
			}
		}
	})
}

// ReadOthers has shards be read that other logs read, as far as they are known, until it is called
// again. It returns the names of the rest.
func (e *Eras) ReadOthers(names []string) (unknown []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.others = nil
	for _, name := range names {
		if e.known(name) == nil {
			unknown = append(unknown, name)
			continue
		}
		e.others = append(e.others, name)
	}
	return unknown
}

// Stand is how far a log is with a change, for those who make it in several.
type Stand struct {
	ID      string      `json:"id,omitempty"`
	Phase   ChangePhase `json:"phase"`
	InForce Spread      `json:"in_force"`
	Old     Spread      `json:"old,omitempty"`
	New     Spread      `json:"new"`
	Move    *Move       `json:"move,omitempty"`
	Read    []string    `json:"read,omitempty"` // shards that are read, in force or not
	Unready string      `json:"unready,omitempty"`

	From, Written    uint64 // see Before
	Head, WrittenAll uint64
	Mirrors          bool
	GivenUp          uint64
	LetGo            []string `json:",omitempty"`
}

// Stand returns how far the log is.
func (e *Eras) Stand() Stand {
	rec, st := e.Record(), e.Status()
	s := Stand{ID: rec.ID, Phase: rec.Phase, InForce: rec.InForce(), Old: rec.Old, New: rec.New, Move: rec.Move, Mirrors: st.Mirror, GivenUp: st.MirrorGivenUp, LetGo: rec.LetGo}
	s.Read = e.reads()
	if rec.Phase == Dual {
		s.Unready = e.unready()
	}
	s.Head = e.Head()
	s.From, s.Written = e.Before()
	s.WrittenAll = e.WrittenAll()
	return s
}
