package rights

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"pingline"
	"pingline/ingest"
	"pingline/queue"
	"pingline/sink/deadletter"
)

// Removals are the removals of riders that are not done yet. They are opened before the
// parts of a node, which ask them what of a rider does not count any more. They are safe
// for concurrent use.
type Removals struct {
	dir string

	// replaying is held while dead letters are put back into the log, shared, and while a
	// removal is asked for. It is taken before mu.
	replaying sync.RWMutex

	busy atomic.Bool // some are pending: else nothing has to be locked

	mu      sync.RWMutex // guards the fields below, and all that they lead to; taken after replaying
	pending []*Removal
	news    chan *Removal // removals that were asked for, for Run
	log     *queue.Log    // has the removals as a note, for the next node; nil: it is no other node's
}

// mostPending bounds the removals that are not done.
const mostPending = 1000

// errTooMany refuses a removal for now.
var errTooMany = fmt.Errorf("%d removals are not done yet: ask again when some are", mostPending)

// OpenRemovals reads the removals in dir, which need not exist.
func OpenRemovals(dir string) (*Removals, error) {
	list, err := loadRemovals(dir)
	if err != nil {
		return nil, fmt.Errorf("removals of riders: %w", err)
	}
	r := &Removals{dir: dir, pending: list, news: make(chan *Removal, mostPending+len(list))}
	r.busy.Store(len(list) > 0)
	for _, m := range list {
		r.news <- m
	}
	return r, nil
}

// sharedNote is the note of a log that has the removals which are not done, as JSON.
const sharedNote = "removals"

// Share has the removals go with a log that several nodes have in turn: removals that the node
// before has begun are gone on with, and are not begun again once it has done them. An embedded
// log belongs to this node alone. Call it before anything else.
func (r *Removals) Share(log *queue.Log) error {
	if !log.Shared() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var shared []*Removal
	text := log.Note(sharedNote)
	if text != "" {
		if err := json.Unmarshal([]byte(text), &shared); err != nil {
			return fmt.Errorf("removals of riders: note of the log: %w", err)
		}
	}
	r.log = log
	for _, m := range slices.Clone(r.pending) {
		i := slices.IndexFunc(shared, func(o *Removal) bool { return o.ID == m.ID })
		switch {
		case i >= 0:
			*m = *shared[i]
			shared = slices.Delete(shared, i, i+1)
		case m.Shared && text != "": // another node has done it; without a note nobody knows
			m.Rider, m.Step = "", Finished
			r.pending = slices.DeleteFunc(r.pending, func(o *Removal) bool { return o == m })
		}
		m.Shared = true
		if err := m.save(r.dir); err != nil {
			return err
		}
	}
	for _, m := range shared {
		if err := m.save(r.dir); err != nil {
			return err
		}
	}
	r.pending = append(r.pending, shared...)
	r.news = make(chan *Removal, mostPending+len(r.pending))
	for _, m := range r.pending {
		r.news <- m
	}
	r.busy.Store(len(r.pending) > 0)
	return r.tell(r.pending)
}

// save makes m durable, here and for the next node. The caller holds mu.
func (r *Removals) save(m *Removal) error {
	m.Shared = r.log != nil
	if err := m.save(r.dir); err != nil || r.log == nil {
		return err
	}
	list := slices.DeleteFunc(slices.Clone(r.pending), func(o *Removal) bool { return o.ID == m.ID })
	if m.Step != Finished {
		list = append(list, m)
	}
	return r.tell(list)
}

// tell makes durable, for the next node, which removals are not done.
func (r *Removals) tell(list []*Removal) error {
	text, err := json.Marshal(append([]*Removal{}, list...)) // never null: there was a list
	if err != nil {
		return err
	}
	note := func(text string) { r.log.Change(queue.Change{Notes: map[string]string{sharedNote: text}}) }
	was := r.log.Note(sharedNote)
	note(string(text))
	if err := r.log.KeepCursors(); err != nil {
		note(was) // the caller takes the change back, too
		return err
	}
	return nil
}

// Erasures returns those that a replay of the log must make again.
func (r *Removals) Erasures() (list []ingest.Erasure) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, m := range r.pending {
		if m.Upto > 0 {
			list = append(list, ingest.Erasure{Rider: m.Rider, Upto: m.Upto})
		}
	}
	return list
}

// Erased reports whether an entry of a commit is not to be written to a store: the past of
// a rider, or what came since and is written later.
func (r *Removals) Erased(number uint64, e *pingline.Entry) bool {
	if !r.busy.Load() {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, m := range r.pending {
		if (m.Through == 0 || number <= m.Through) && deadletter.IsOf(e, m.Rider) {
			return true
		}
	}
	return false
}

// Written returns the number of the first commit whose pings may not be in the stores
// because they are written later.
func (r *Removals) Written() uint64 {
	next := uint64(math.MaxUint64)
	if !r.busy.Load() {
		return next
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, m := range r.pending {
		if m.Step != Restored && m.Upto > 0 {
			next = min(next, m.Upto+1)
		}
	}
	return next
}

// Resubmit calls submit with the letters of riders that are not being removed.
func (r *Removals) Resubmit(letters []*deadletter.Letter, submit func([]*deadletter.Letter) error) error {
	r.replaying.RLock()
	defer r.replaying.RUnlock()
	letters = slices.DeleteFunc(slices.Clone(letters), func(l *deadletter.Letter) bool {
		r.mu.RLock()
		defer r.mu.RUnlock()
		return slices.ContainsFunc(r.pending, func(m *Removal) bool { return m.Through == 0 && deadletter.IsOf(&l.Entry, m.Rider) })
	})
	if len(letters) == 0 {
		return nil
	}
	return submit(letters)
}

// Ask asks for the removal of a rider. Once it returns nil the removal will be done, also
// after a crash. If the rider is being removed, that removal begins anew. Also is the ID of
// the removal of the rider by another name, or "".
func (r *Removals) Ask(rider, also string) (Removal, error) {
	r.replaying.Lock()
	defer r.replaying.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.pending {
		if m.Rider != rider {
			continue
		}
		was := *m
		m.Again, m.Also = true, cmp.Or(also, m.Also)
		if err := r.save(m); err != nil {
			m.Again, m.Also = was.Again, was.Also
			return Removal{}, err
		}
		return m.clone(), nil
	}
	if len(r.pending) >= mostPending {
		return Removal{}, errTooMany
	}
	m := newRemoval(rider)
	m.Also = also
	if err := r.save(m); err != nil {
		return Removal{}, err
	}
	r.busy.Store(true)
	r.pending = append(r.pending, m)
	r.news <- m
	return m.clone(), nil
}

// Get returns the removal of an ID; its error is fs.ErrNotExist if there is none.
func (r *Removals) Get(id string) (Removal, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, m := range r.pending {
		if m.ID == id {
			return m.clone(), nil
		}
	}
	m, err := loadRemoval(r.dir, id)
	if err != nil {
		return Removal{}, err
	}
	return *m, nil
}

func (m *Removal) clone() Removal {
	c := *m
	c.Shards = slices.Clone(m.Shards)
	return c
}

// change changes m, and makes the change durable. After an error m is as before.
func (r *Removals) change(m *Removal, to func(m *Removal)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := m.clone()
	to(m)
	m.Waits = ""
	if err := r.save(m); err != nil {
		*m = was
		return fmt.Errorf("removal %s: %w", m.ID, err)
	}
	return nil
}

// waits notes why the next step of m is not done yet.
func (r *Removals) waits(m *Removal, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Waits = why
}

// finish makes it durable that m is done, and forgets the rider.
func (r *Removals) finish(m *Removal, to func(m *Removal)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Again {
		return errAgain
	}
	done := m.clone()
	to(&done)
	done.Rider, done.Waits, done.Step = "", "", Finished
	if err := r.save(&done); err != nil {
		return fmt.Errorf("removal %s: %w", m.ID, err)
	}
	r.pending = slices.DeleteFunc(r.pending, func(o *Removal) bool { return o == m })
	r.busy.Store(len(r.pending) > 0)
	return nil
}

// errAgain says that a removal begins anew.
var errAgain = errors.New("asked for again")
