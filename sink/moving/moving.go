// Package moving moves the history of a set to where a new layout of its shards has it, in the
// background, while rows are written.
//
// It begins once both layouts are written and the old shards have all of before, copies what lies
// elsewhere in the new layout, a cell and a day at a time, and compares both sides. What was
// copied is deleted from the old shards only when an operator asks for that. It goes on by itself
// after a restart or a crash: how far it is lies in files of the data directory.
//
// It never keeps the node from writing: it stands while a store is in trouble, while the node
// sheds and while the log fills up, and keeps to a rate. It moves nothing that a route leads to a
// place of its own.
package moving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pingline/internal/pause"
	"pingline/sink/copying"
	"pingline/sink/reshard"
)

// Config names what is needed. Eras and Dir are required.
type Config struct {
	Set     string // "main" of the first
	Eras    *reshard.Eras
	Dir     string   // of the files that say how far it is
	Points  []string // names of the points that are moved with pings
	ByRider bool     // pings are spread by their rider, not by their cell
	Gauges  copying.Gauges
	Erasing func() bool   // a rider is being removed; nil: never
	Others  OtherLogs     // nil: no other node writes to the shards
	Held    time.Duration // how long a latch of Others holds at most
	Idle    bool          // another node moves the history
	Logger  *slog.Logger
}

// OtherLogs are the other logs of which rows go to the same shards, with their nodes. A change is made
// in all of them, and its history is moved once.
type OtherLogs interface {
	// Behind returns why another log is not as far with a change, with all of before it in the old shards, or "".
	Behind(ctx context.Context, rec *reshard.SetRecord) string
	// Level returns the function that says what is left until the shards have what those logs have now, or "".
	Level(ctx context.Context) (left func(ctx context.Context) string)
	// Holds returns why nothing may be moved for now, out of memory, or "".
	Holds() string
	// LetGo returns the days of which their mirrors gave rows up, and how many.
	LetGo(ctx context.Context) (days []string, given uint64, err error)
	Filled(ctx context.Context, days []string) error
	Unread(ctx context.Context, id string, names []string) error
	Latch(shard string) copying.SourceLatch // of all nodes

	// Load and Keep have the state of the history with the log, where another node finds it.
	Load() string
	Keep(state string) error
	Node() string // name of this one
}

// Mover moves the history of a set. It is safe for concurrent use.
type Mover struct {
	cfg   Config
	nudge chan struct{} // has one if something was asked for

	mu      sync.Mutex // guards the fields below; nothing else is locked under it
	job     *moveJob   // nil: nothing is moved
	now     *movement  // nil: nothing is under way
	stands  string     // why it stands, beside what the movement says
	failing bool       // stands is the text of an error
	since   time.Time  // since when it stands; zero if it does not
	failed  bool       // it was broken off, and has done nothing since
	was     *movement  // that was broken off
	kept    []string   // units that were not deleted, and why: at most mostTold
	keptAll int
	others  bool // mirrors of other logs gave rows up
}

// movement is work under way.
type movement struct {
	stage  MoveStage
	end    context.CancelFunc
	ended  chan struct{}
	units  int // of all shards
	rows   uint64
	before copying.Status // the sum over shards that are done
	copier *copying.Copier
}

// New returns the Mover of a set, as its files say.
func New(cfg Config) (*Mover, error) {
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	m := &Mover{cfg: cfg, nudge: make(chan struct{}, 1)}
	if cfg.Idle {
		return m, nil
	}
	var err error
	m.job, err = m.load()
	return m, err
}

// OthersLack notes whether mirrors of other logs gave rows up, which have to be copied.
func (m *Mover) OthersLack(is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.others = is
}

// Times of the loop.
const (
	lookAgain = 200 * time.Millisecond
	tryAgain  = 5 * time.Second // after an error that is no trouble of a store
)

// Run moves until ctx is cancelled.
func (m *Mover) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		stage, err := m.next()
		if err == nil && stage != "" {
			err = m.work(ctx, stage)
		}
		wait := lookAgain
		if err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
			m.fail(err)
			wait = tryAgain
		}
		if stage == "" || err != nil {
			select {
			case <-ctx.Done():
			case <-m.nudge:
			case <-time.After(wait):
			}
		}
	}
	return nil
}

// next returns what is to be done now, and "" for nothing. It takes up a change that was begun,
// and forgets a change that was undone.
func (m *Mover) next() (MoveStage, error) {
	if m.cfg.Idle {
		return "", nil
	}
	rec := m.cfg.Eras.Record()
	m.mu.Lock()
	defer m.mu.Unlock()
	undone := m.job != nil && rec.Phase == reshard.Settled && rec.New.String() != m.job.New.String()
	if j := m.job; j != nil && j.ID == rec.ID && undone && rec.Move != nil && rec.Move.Clean {
		if err := m.clean(); err != nil {
			return "", err
		}
	} else if j != nil && (j.ID != rec.ID || undone) {
		m.cfg.Logger.Info("no history is moved any more", "set", m.cfg.Set, "change", j.ID)
		if err := m.forget(); err != nil {
			return "", err
		}
	}
	if m.job == nil && rec.Move != nil && rec.Phase != reshard.Settled {
		j := &moveJob{Form: jobForm, ID: rec.ID, Old: rec.Old, New: rec.New, Rate: rec.Move.Rate, Stage: Copying}
		if err := m.save(j); err != nil {
			return "", err
		}
		m.job = j
		m.cfg.Logger.Info("history is moved", "set", m.cfg.Set, "change", j.ID, "old", j.Old.String(), "new", j.New.String(), "rate", j.Rate)
	}
	if m.job != nil && m.job.Stage == Moved && rec.Phase == reshard.Dual && (len(known(rec.LetGo)) > 0 || m.others) {
		m.job.Stage = Copying // of what the mirror gave up
	}
	switch {
	case m.job == nil || !m.job.Stage.works():
		m.standLocked("")
	case m.job.Paused:
		m.standLocked("it is paused: pingline reshard resume")
	case m.erasing():
		m.standLocked("a rider is being removed")
	case m.holds() != "":
		m.standLocked(m.holds())
	default:
		return m.job.Stage, nil
	}
	return "", nil
}

// holds returns why another node has nothing be moved for now, or "".
func (m *Mover) holds() string {
	if m.cfg.Others == nil {
		return ""
	}
	return m.cfg.Others.Holds()
}

func (m *Mover) erasing() bool { return m.cfg.Erasing != nil && m.cfg.Erasing() }

// work does a stage until it is done, an operator wants something else, or ctx ends.
func (m *Mover) work(ctx context.Context, stage MoveStage) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	w := &movement{stage: stage, end: end, ended: make(chan struct{})}
	defer close(w.ended)
	m.mu.Lock()
	if m.job == nil || m.erasing() || m.holds() != "" { // Yield may have seen nothing to stop
		m.mu.Unlock()
		return nil
	}
	if err := m.sign(); err != nil {
		m.mu.Unlock()
		return err
	}
	m.now, m.kept, m.keptAll = w, nil, 0
	job := m.job.clone()
	m.mu.Unlock()
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for pause.For(ctx, lookAgain) == nil {
			if is, err := m.next(); err == nil && is != stage {
				end()
			}
			m.clock()
		}
	}()
	err := m.do(ctx, w, job)
	end()
	<-watching
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now = nil; err != nil {
		return err
	}
	m.failed = false
	m.standLocked("")
	return nil
}

func (m *Mover) do(ctx context.Context, w *movement, job *moveJob) error {
	if err := m.awaitBefore(ctx); err != nil {
		return err
	}
	look := m.parts
	if w.stage == Cleaning {
		if err := m.level(ctx); err != nil {
			return err
		}
		look = m.cleaned
	}
	parts, err := look(ctx, job)
	if err != nil {
		return err
	}
	defer closeParts(parts)
	m.mu.Lock()
	if !m.failed {
		m.standLocked("")
	}
	for _, p := range parts {
		w.units += len(p.plan)
		for _, u := range p.plan {
			w.rows += u.Rows
		}
	}
	m.mu.Unlock()
	for _, p := range parts {
		m.mu.Lock()
		w.copier = p.copier
		m.mu.Unlock()
		switch w.stage {
		case Copying:
			err = p.copier.Copy(ctx, p.plan)
		case Comparing:
			err = m.compare(ctx, p, job)
		case Deleting:
			err = m.remove(ctx, p)
		case Cleaning:
			err = p.copier.Clean(ctx, p.plan, m.keeps(p))
		}
		if err != nil {
			m.mu.Lock()
			m.failed, m.was = ctx.Err() == nil, w
			m.mu.Unlock()
			return err
		}
		m.mu.Lock()
		w.before = addStatus(w.before, p.copier.Status())
		w.copier = nil
		m.mu.Unlock()
	}
	if w.stage == Copying {
		if err := m.fill(ctx, job, parts); err != nil {
			return err
		}
	}
	return m.finishStage(w.stage, job, parts)
}

// finishStage notes that a stage is done.
func (m *Mover) finishStage(stage MoveStage, job *moveJob, parts []*shardPart) error {
	m.mu.Lock()
	left, is := m.keptAll, m.job != nil && m.job.ID == job.ID
	m.mu.Unlock()
	if !is {
		return nil // another change was forced meanwhile
	}
	if stage == Deleting && left == 0 {
		var empty []string
		for _, p := range parts {
			if p.gone && p.all {
				empty = append(empty, p.from)
			}
		}
		if err := m.unread(job.ID, empty); err != nil {
			return err
		}
	}
	if stage == Cleaning && left == 0 {
		return m.cleanedAll(job.ID)
	}
	return m.change(func(j *moveJob) error {
		switch {
		case j.ID != job.ID || j.Stage != stage: // an operator was quicker
		case stage == Copying:
			j.Stage, j.Share, j.Differ = Comparing, firstShare, 0
		case stage == Comparing:
			j.Stage, j.Compared, j.Share = Moved, true, 0
			j.Differ, j.Differences = job.Differ, job.Differences
		case stage == Deleting:
			j.Stage = Deleted
		case stage == Cleaning:
			j.Stage = Cleaned
		}
		return nil
	})
}

// awaitBefore waits until the old shards have all that was written by the old layout alone: the
// copy would miss the rest, and a row that comes after its unit was deleted would stay.
func (m *Mover) awaitBefore(ctx context.Context) error {
	for {
		from, written := m.cfg.Eras.Before()
		why := ""
		switch {
		case written < from:
			why = fmt.Sprintf("rows of before the change are being written, holes included: commit %d of %d", written, from)
		case m.cfg.Others != nil:
			why = m.cfg.Others.Behind(ctx, m.cfg.Eras.Record())
		}
		if why == "" {
			return nil
		}
		m.stand(why)
		if err := pause.For(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// level waits until the shards, with the mirror's, have what the log has now.
func (m *Mover) level(ctx context.Context) error {
	for head := m.cfg.Eras.Head(); m.cfg.Eras.WrittenAll() <= head; {
		m.stand(map[bool]string{true: "the mirror is behind", false: "rows that wait are being written"}[m.cfg.Eras.Mirrors()])
		if err := pause.For(ctx, lookAgain/4); err != nil {
			return err
		}
	}
	if m.cfg.Others != nil {
		for left := m.cfg.Others.Level(ctx); ; {
			why := left(ctx)
			if why == "" {
				break
			}
			m.stand(why)
			if err := pause.For(ctx, lookAgain/4); err != nil {
				return err
			}
		}
	}
	m.stand("")
	return nil
}

// firstShare is the share of units of which checksums are compared, beside counts of all, unless
// an operator asks for all.
const firstShare = 0.01

// Yield stops what is under way, and returns once nothing is written any more. It begins again
// once no rider is being removed, which whoever calls has made known.
func (m *Mover) Yield() {
	m.mu.Lock()
	w := m.now
	m.mu.Unlock()
	if w != nil {
		w.end()
		<-w.ended
	}
}

// wake has Run look at once.
func (m *Mover) wake() {
	select {
	case m.nudge <- struct{}{}:
	default:
	}
}
