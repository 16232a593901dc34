package reshard

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/queue"
	"pingline/sink"
	"pingline/sink/batch"
	"pingline/sink/resume"
)

// Eras are the sinks of a set: one for each era that is not passed completely. They are safe for
// concurrent use.
type Eras struct {
	cfg    sink.Config // of the flags; its shards are all that are known
	logger *slog.Logger

	latches sync.Map // *limit.Latch of shards, by name

	changing sync.Mutex // held while the shards are changed; taken before mu

	mu      sync.RWMutex // guards the fields below; taken before the mutexes of sinks
	shards  []sink.ShardStore
	rec     *SetRecord // nil: the shards were never changed
	running []*eraSink // the oldest first
	passed  books      // of eras that are passed completely
	mirror  books      // the same, of mirrors
	others  []string   // shards that other logs read
	ctx     context.Context
	group   *errgroup.Group // nil unless Run is called
}

// eraSink is an era and its sink.
type eraSink struct {
	Era
	*sink.Sink
	fence *batch.Fence
	stop  context.CancelFunc
	done  chan struct{} // closed when the sink has ended; nil unless it runs
}

// Open opens the sinks of a set, as the log says, or as the flags do if the log tells of no
// change. cfg is of the flags; shards that the log has in force must be among its own, or open opens
// them by the text that the log has of them.
func Open(cfg sink.Config, open func(text string) (sink.ShardStore, error)) (*Eras, error) {
	e := &Eras{cfg: cfg, logger: cmp.Or(cfg.Logger, slog.Default())}
	e.cfg.Latch = e.Latch
	e.shards = slices.Clone(cfg.Shards)
	note := resume.Eras(cfg.Log, cfg.Set)
	if note == "" {
		e.sweep()
		return e, e.open(Era{N: 1})
	}
	rec, err := parse(note)
	if err != nil {
		return nil, err
	}
	e.rec = rec
	if err := e.reopen(open); err != nil {
		return nil, err
	}
	for _, name := range rec.needs() {
		if e.known(name) == nil {
			return nil, &UnknownError{name, rec.InForce().String(), !slices.Contains(rec.InForce().Names(), name)}
		}
	}
	e.sweep()
	if err := e.mend(); err != nil {
		return nil, err
	}
	e.sayGone()
	e.readBack()
	e.sayContradiction()
	for _, era := range e.rec.Eras {
		if err := e.open(era); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// open opens the sink of an era.
func (e *Eras) open(era Era) error {
	r, err := e.newSink(era)
	if err == nil {
		e.running = append(e.running, r)
	}
	return err
}

func (e *Eras) newSink(era Era) (*eraSink, error) {
	cfg, err := e.config(era)
	if err != nil {
		return nil, err
	}
	r := &eraSink{Era: era, fence: new(batch.Fence)}
	if era.End != nil {
		r.fence = batch.FenceAt(*era.End)
	}
	cfg.Until = r.fence
	if r.Sink, err = sink.New(cfg); err != nil {
		return nil, err
	}
	return r, nil
}

// start runs the sink of an era. The caller holds mu.
func (e *Eras) start(r *eraSink) {
	ctx, stop := context.WithCancel(e.ctx)
	r.stop, r.done = stop, make(chan struct{})
	e.group.Go(func() error {
		defer close(r.done)
		return r.Run(ctx)
	})
}

// Run runs the sinks of all eras until ctx is cancelled, or until one fails.
func (e *Eras) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	e.mu.Lock()
	e.ctx, e.group = ctx, g
	for _, r := range e.running {
		e.start(r)
	}
	e.mu.Unlock()
	g.Go(func() error { return e.watch(ctx) })
	return g.Wait()
}

// lookForEnd is how often it is looked whether an era is passed.
const lookForEnd = 100 * time.Millisecond

// watch forgets eras that are passed, until ctx ends.
func (e *Eras) watch(ctx context.Context) error {
	tick := time.NewTicker(lookForEnd)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			e.mu.Lock()
			e.group = nil // no sink begins any more
			e.mu.Unlock()
			return nil
		case <-tick.C:
		}
		e.mu.RLock()
		at := slices.IndexFunc(e.running, func(r *eraSink) bool { return r.End != nil && r.Ended() })
		e.mu.RUnlock()
		if at < 0 {
			continue
		}
		e.changing.Lock()
		e.forgetPassed()
		e.changing.Unlock()
	}
}

// forgetPassed forgets the eras whose lanes have all come to the end. The caller holds changing.
func (e *Eras) forgetPassed() {
	e.mu.RLock()
	list := slices.Clone(e.running)
	e.mu.RUnlock()
	for _, r := range list {
		if r.End == nil || !r.Ended() {
			continue
		}
		r.stop()
		<-r.done
		e.mu.Lock()
		rec := e.rec.clone()
		rec.Eras = slices.DeleteFunc(rec.Eras, func(era Era) bool { return era.N == r.N })
		a := r.Account() // before its cursors go: it may move them
		if r.Era.mirror() && a.Pings.Damaged+a.Lines.Damaged > 0 {
			rec.lacks(r.Era) // the lanes that it mirrors may have read them before
		}
		e.books(r).add(&r.Era, a, r.Stats())
		e.running = slices.DeleteFunc(e.running, func(o *eraSink) bool { return o == r })
		var change queue.Change
		resume.Drop(&change, e.cfg.Log, r.space(e.cfg.Set))
		resume.NoteEras(&change, e.cfg.Set, rec.String())
		e.cfg.Log.Change(change) // kept soon; if not, the era is opened again, and is passed again
		e.rec = rec
		e.mu.Unlock()
		e.logger.Info("all of a layout's part of the log is written", "set", cmp.Or(e.cfg.Set, "main"), "layout", r.Spread.String(), "mirror", r.Era.mirror(), "to", r.End.Next)
	}
}

// books returns where the counts of an era are kept once it is passed.
func (e *Eras) books(r *eraSink) *books {
	if r.Era.mirror() {
		return &e.mirror
	}
	return &e.passed
}

// reopen opens shards that no flag names, and of which the record says how.
func (e *Eras) reopen(open func(text string) (sink.ShardStore, error)) error {
	for _, name := range addNames(addNames(e.rec.needs(), e.rec.Read...), e.rec.Ahead...) {
		text, told := e.rec.Stores[name]
		if !told || open == nil || e.known(name) != nil {
			continue
		}
		sh, err := open(text)
		if err != nil {
			return fmt.Errorf("shard %s, which pingline reshard added (%s): %w", name, text, err)
		}
		e.shards = append(e.shards, sh)
	}
	return nil
}
