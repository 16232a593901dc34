package reshard

import (
	"cmp"
	"math"
	"slices"
	"time"

	"pingline/sink"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/resume"
	"pingline/sink/route"
)

// MirrorLane is the name of the lanes of a mirror, taken together.
const MirrorLane = "mirror"

// Account returns the fates of all entries of the log.
func (e *Eras) Account() sink.Account {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.accountOf(e.passed, false)
}

// MirrorAccount returns the fates of all entries in the mirror, and false if there is none.
func (e *Eras) MirrorAccount() (sink.Account, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.mirroring() {
		return sink.Account{}, false
	}
	return e.accountOf(e.mirror, true), true
}

// Mirrors reports whether there is a mirror.
func (e *Eras) Mirrors() bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.mirroring()
}

// mirroring reports whether an era is a mirror. The caller holds mu.
func (e *Eras) mirroring() bool {
	return slices.ContainsFunc(e.running, func(r *eraSink) bool { return r.Era.mirror() })
}

func (e *Eras) accountOf(b books, mirror bool) sink.Account {
	for _, r := range e.running {
		if r.Era.mirror() == mirror {
			b.count(&r.Era, r.Sink.Account())
		}
	}
	return b.whole(e.cfg.Log.Head().Totals)
}

// Stats returns how each shard does: those of the layout in force first, in its order. The lanes
// of a mirror are one.
func (e *Eras) Stats() []sink.Stats {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var list []sink.Stats
	for _, r := range slices.Backward(e.running) {
		if !r.Era.mirror() {
			list = joinAll(list, r.Sink.Stats())
		}
	}
	for _, r := range e.running {
		if r.Era.mirror() {
			list = joinAll(list, mirrored(r.Sink.Stats()))
		}
	}
	return joinAll(joinAll(list, e.passed.stats), e.mirror.stats)
}

// Primary returns how the shards do that rows are for, without mirrors.
func (e *Eras) Primary() (list []sink.Stats) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range slices.Backward(e.running) {
		if !r.Era.mirror() {
			list = joinAll(list, r.Sink.Stats())
		}
	}
	return list
}

// mirrored takes the lanes of each shard together.
func mirrored(list []sink.Stats) []sink.Stats {
	for i := range list {
		st := &list[i]
		one := sink.LaneStats{Lane: MirrorLane, Queued: st.Queued, Oldest: st.Oldest}
		for _, l := range st.Lanes {
			one.Behind = max(one.Behind, l.Behind)
		}
		st.Lanes = []sink.LaneStats{one}
	}
	return list
}

// Notes returns a sentence for each trouble that an operator must know of.
func (e *Eras) Notes() (notes []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		notes = addNames(notes, r.Sink.Notes()...)
	}
	return notes
}

// Written returns the number of the first commit of which some ping may be neither stored nor a
// dead letter yet, mirrors apart. It never goes back.
func (e *Eras) Written() uint64 {
	return e.least(func(r *eraSink) uint64 {
		if r.Era.mirror() {
			return math.MaxUint64
		}
		return r.Sink.Written()
	})
}

// WrittenAll is Written with mirrors.
func (e *Eras) WrittenAll() uint64 {
	return e.least(func(r *eraSink) uint64 { return r.Sink.Written() })
}

// Lowest returns the number of the first commit that some lane of no mirror has not passed.
func (e *Eras) Lowest() uint64 {
	return e.least(func(r *eraSink) uint64 {
		if r.Era.mirror() {
			return math.MaxUint64
		}
		return r.Sink.Lowest()
	})
}

// least returns the least number of all eras; one that is passed has none.
func (e *Eras) least(of func(*eraSink) uint64) uint64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	next := uint64(math.MaxUint64)
	for _, r := range e.running {
		if n := of(r); r.End == nil || n < r.End.Next {
			next = min(next, n)
		}
	}
	return next
}

// Memory returns how many bytes the sinks take: see sink.Sink.Memory.
func (e *Eras) Memory() (sum int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		sum += r.Sink.Memory()
	}
	return sum
}

// Len returns how many sinks there are.
func (e *Eras) Len() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(e.running)
}

// Kept returns how long all shards keep pings: see sink.Sink.Kept.
func (e *Eras) Kept() (pings, events time.Duration) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		p, ev := r.Sink.Kept()
		pings, events = health.Least(pings, p), health.Least(events, ev)
	}
	return pings, events
}

// GoneBefore returns the time, ms, before which the set may lack points: see
// sink.Sink.GoneBefore.
func (e *Eras) GoneBefore() (at int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		at = max(at, r.Sink.GoneBefore())
	}
	return at
}

// DeadLetters returns the dead letters of all shards.
func (e *Eras) DeadLetters() *deadletter.Dir {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.running[0].Sink.DeadLetters()
}

// GiveUp has the lanes of no mirror pass what lies before a commit: see sink.Sink.GiveUp.
func (e *Eras) GiveUp(before uint64) { e.giveUp(before, false) }

// GiveUpMirror has the lanes of mirrors pass what lies before a commit.
func (e *Eras) GiveUpMirror(before uint64) { e.giveUp(before, true) }

func (e *Eras) giveUp(before uint64, mirror bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		if r.Era.mirror() == mirror {
			r.Sink.GiveUp(before)
		}
	}
}

// Lacks returns the gaps of the set.
func (e *Eras) Lacks() (l resume.Lacks) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		if of := r.Sink.Lacks(); !r.Era.mirror() && of.Until >= l.Until {
			l = of
		}
	}
	return l
}

// MirrorSpaces returns the spaces of the cursors of mirrors.
func (e *Eras) MirrorSpaces() (spaces []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.running {
		if r.Era.mirror() {
			spaces = append(spaces, r.space(e.cfg.Set))
		}
	}
	return spaces
}

// Reading returns the names of the shards over which rows are, or were, spread.
func (e *Eras) Reading() []string {
	names := e.reads()
	e.mu.RLock()
	defer e.mu.RUnlock()
	return addNames(addNames(names, e.record().Ahead...), e.others...)
}

// reads returns the names of the shards that this log may have rows in.
func (e *Eras) reads() (names []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	rec := e.record()
	names = addNames(addNames(names, rec.InForce().Names()...), rec.Old.Names()...)
	for _, era := range rec.Eras {
		names = addNames(addNames(names, era.Spread.Names()...), era.Beside.Names()...)
	}
	return addNames(names, rec.Read...)
}

// Shards returns all shards that are known, but the one that stands for others.
func (e *Eras) Shards() []sink.ShardStore {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(e.shards), func(s sink.ShardStore) bool { return s.Name == route.Nobody })
}

// SetStatus is how far a change is.
type SetStatus struct {
	Set       string      `json:"set"`
	ID        string      `json:"id,omitempty"`
	Phase     ChangePhase `json:"phase"`
	Do        string      `json:"do,omitempty"`
	Since     int64       `json:"since,omitempty"` // ms, when the phase began
	InForce   Spread      `json:"in_force"`
	Old       Spread      `json:"old,omitempty"`
	New       Spread      `json:"new,omitempty"`
	ReadOnly  []string    `json:"read_only,omitempty"` // shards that are read, and not written any more
	Idle      []string    `json:"idle,omitempty"`      // shards that are known, and neither written nor read
	Remaining uint64      `json:"remaining"`           // pings and lines of our own that wait for the layout before the last cut

	Mirror        bool     `json:"mirror"`
	MirrorSeconds float64  `json:"mirror_seconds"` // how old the oldest commit is that waits for the mirror
	MirrorQueued  uint64   `json:"mirror_queued"`
	MirrorLetters uint64   `json:"mirror_dead_letters"`
	MirrorGivenUp uint64   `json:"mirror_given_up"`
	LetGo         []string `json:"let_go,omitempty"` // days of rows that the mirror gave up
}

// Status returns how far a change is.
func (e *Eras) Status() SetStatus {
	reading := e.Reading()
	e.mu.RLock()
	defer e.mu.RUnlock()
	rec := e.record()
	s := SetStatus{Set: cmp.Or(e.cfg.Set, "main"), ID: rec.ID, Phase: rec.Phase, Do: rec.Do, Since: rec.At, InForce: rec.InForce()}
	s.ReadOnly = without(without(rec.Read, rec.New.Names()), rec.Old.Names())
	if rec.Phase != Settled {
		s.Old, s.New = rec.Old, rec.New
	}
	over := 1
	if e.cfg.Spread != nil {
		over = e.cfg.Spread.Len()
	}
	for i, sh := range e.shards {
		if (i < over || i >= len(e.cfg.Shards)) && !slices.Contains(reading, sh.Name) {
			s.Idle = append(s.Idle, sh.Name)
		}
	}
	for _, r := range e.running {
		if r.End == nil && !r.Era.mirror() {
			continue
		}
		a := r.Sink.Account()
		queued := a.Pings.Queued + a.Lines.Queued
		switch {
		case r.Era.mirror():
			s.Mirror = true
			s.MirrorQueued += queued
			s.MirrorGivenUp += a.Pings.GivenUp + a.Lines.GivenUp
			for _, st := range r.Sink.Stats() {
				s.MirrorSeconds = max(s.MirrorSeconds, st.Oldest.Seconds())
			}
		default:
			s.Remaining += queued
		}
	}
	s.LetGo, s.MirrorLetters = slices.Clone(rec.LetGo), rec.Refused
	return s
}
