package reshard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/batch"
	"pingline/sink/resume"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Eras are the sinks of a set: one for each era that is not passed completely. They are safe for
// concurrent use.
type Eras struct {
	cfg    sink.Config // of the flags; its shards are all that are known
	logger *slog.Logger

	changing sync.Mutex // held while the shards are changed; taken before mu

	mu      sync.RWMutex // guards the fields below; taken before the mutexes of sinks
	shards  []sink.ShardStore
	rec     *SetRecord // nil: the shards were never changed
	running []*eraSink // the oldest first
	passed  books      // of eras that are passed completely
	mirror  books      // the same, of mirrors
	ctx     context.Context
	group   *errgroup.Group // nil unless Run is called
	letGo   map[string]bool // days that were given up and are not noted yet
	noted   time.Time
}

// eraSink is an era and its sink.
type eraSink struct {
	Era
	*sink.Sink
	fence *batch.Fence
	stop  context.CancelFunc
	done  chan struct{} // closed when the sink has ended; nil unless it runs
}

// nowhere is the store of the rows that are for others: it keeps none.
type nowhere struct{}

func (nowhere) AppendRow(dst []byte, _ *pingline.Entry) []byte { return append(dst, '.') }
func (nowhere) Write(context.Context, store.Rows) error        { return nil }
func (nowhere) Close() error                                   { return nil }

// Nobody is the shard of the rows that are for others.
func Nobody() sink.ShardStore { return sink.ShardStore{Name: route.Nobody, Store: nowhere{}} }

// UnknownError says that a shard is in force, and that no flag tells where it is.
type UnknownError struct {
	Shard string
	InUse string // the layout of the log
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("shard %s is in force since it was added by pingline reshard (%s), and no --shard names it: add --shard name=%s,url=…", e.Shard, e.InUse, e.Shard)
}

// Open opens the sinks of a set, as the log says, or as the flags do if the log tells of no
// change. cfg is of the flags; shards that the log has in force must be among its own.
func Open(cfg sink.Config) (*Eras, error) {
	e := &Eras{cfg: cfg, logger: cmp.Or(cfg.Logger, slog.Default()), letGo: make(map[string]bool)}
	e.shards = slices.Clone(cfg.Shards)
	note := resume.Eras(cfg.Log, cfg.Set)
	if note == "" {
		return e, e.open(Era{N: 1})
	}
	rec, err := parse(note)
	if err != nil {
		return nil, err
	}
	e.rec = rec
	for _, name := range rec.needs() {
		if e.known(name) == nil {
			return nil, &UnknownError{name, rec.InForce().String()}
		}
	}
	if err := e.mend(); err != nil {
		return nil, err
	}
	e.sayGone()
	e.sayContradiction()
	for _, era := range rec.Eras {
		if err := e.open(era); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// mend begins anew, as any change of shards without this package does, if the positions of an
// era are missing: an older version has run meanwhile, to which they mean nothing, or the file
// was lost.
func (e *Eras) mend() error {
	spaces := []string{e.cfg.Set}
	whole := true
	for i := range e.rec.Eras {
		space := e.rec.Eras[i].space(e.cfg.Set)
		_, has := resume.Lowest(e.cfg.Log, space)
		whole = whole && has
		spaces = append(spaces, space)
	}
	if whole && e.rec.open(false) != nil {
		return nil
	}
	at, _ := resume.Lowest(e.cfg.Log, spaces...)
	if at.Next == 0 {
		var err error
		if at, err = resume.Beginning(e.cfg.Log); err != nil {
			return err
		}
	}
	e.logger.Warn("the shards were changed, and their positions in the log are missing: all lanes start anew", "layout", e.rec.InForce().String(), "from", at.Next)
	rec := e.rec.clone()
	rec.Eras = nil
	if rec.Phase == Dual {
		rec.New = rec.Old
	}
	rec.Read = addNames(rec.Read, rec.Old.Names()...)
	rec.Old = nil
	rec.enter(Settled)
	var change queue.Change
	for _, space := range spaces {
		resume.Drop(&change, e.cfg.Log, space)
	}
	era := rec.begin(rec.New, nil, at)
	if err := e.beginIn(&change, *era); err != nil {
		return err
	}
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	e.rec = rec
	return e.cfg.Log.KeepCursors()
}

func (e *Eras) beginIn(change *queue.Change, era Era) error {
	cfg, err := e.config(era)
	if err != nil {
		return err
	}
	l := cfg.Layout()
	resume.Begin(change, &l, era.From)
	return nil
}

// sayGone notes that shards which are read only are not known any more.
func (e *Eras) sayGone() {
	var change queue.Change
	gone := slices.DeleteFunc(slices.Clone(e.rec.Read), func(name string) bool { return e.known(name) != nil })
	if len(gone) == 0 {
		return
	}
	e.rec.Read = slices.DeleteFunc(e.rec.Read, func(name string) bool { return slices.Contains(gone, name) })
	gone = slices.DeleteFunc(gone, func(name string) bool { return slices.Contains(e.cfg.Moved, name) })
	resume.NoteGone(&change, e.cfg.Log, e.cfg.Set, gone...)
	resume.NoteEras(&change, e.cfg.Set, e.rec.String())
	e.cfg.Log.Change(change)
}

// sayContradiction logs how the flags differ from the log.
func (e *Eras) sayContradiction() {
	flags, log := e.flags(), e.rec.InForce()
	var differ []string
	for _, sh := range flags {
		i := slices.IndexFunc(log, func(s partition.Shard) bool { return s.Name == sh.Name })
		switch {
		case i < 0 && !slices.Contains(append(e.rec.needs(), e.rec.Read...), sh.Name):
			differ = append(differ, fmt.Sprintf("%s is not in force", sh.Name))
		case i >= 0 && log[i].Weight != sh.Weight:
			differ = append(differ, fmt.Sprintf("%s has the weight %v in the flags, %v in force", sh.Name, sh.Weight, log[i].Weight))
		}
	}
	if len(differ) > 0 {
		e.logger.Warn("the flags have other shards than the log: the log is followed, pingline reshard changes it", "in_force", log.String(), "flags", flags.String(), "differ", strings.Join(differ, "; "))
	}
}

// flags is the layout of the flags.
func (e *Eras) flags() (s Spread) {
	if e.cfg.Spread == nil {
		return Spread{{Name: e.cfg.Shards[0].Name, Weight: 1}}
	}
	for i := range e.cfg.Spread.Len() {
		s = append(s, e.cfg.Spread.At(i))
	}
	return s
}

// known returns the store of a name, and nil if there is none. The caller holds mu, or is Open.
func (e *Eras) known(name string) store.Store {
	for _, sh := range e.shards {
		if sh.Name == name {
			return sh.Store
		}
	}
	return nil
}

// config returns the settings of the sink of an era.
func (e *Eras) config(era Era) (sink.Config, error) {
	c := e.cfg
	c.Era = era.name()
	if len(era.Spread) == 0 {
		return c, nil // as the flags have it
	}
	if err := e.layOut(&c, era.Spread, era.mirror()); err != nil {
		return c, err
	}
	if era.mirror() {
		other := c
		if err := e.layOut(&other, era.Beside, true); err != nil {
			return c, err
		}
		l := other.Layout()
		c.Beside, c.GaveUp = &l, e.gaveUp
	}
	return c, nil
}

// layOut has c spread rows over the shards of a layout; what flags lead elsewhere goes there.
func (e *Eras) layOut(c *sink.Config, spread Spread, nobody bool) (err error) {
	if c.Spread, err = partition.NewShards(spread...); err != nil {
		return err
	}
	c.Shards, c.Nobody = nil, 0
	add := func(name string) int {
		i := slices.IndexFunc(c.Shards, func(s sink.ShardStore) bool { return s.Name == name })
		if to := e.known(name); i < 0 && to != nil {
			i, c.Shards = len(c.Shards), append(c.Shards, sink.ShardStore{Name: name, Store: to})
		}
		return i
	}
	for _, name := range spread.Names() {
		if add(name) < 0 {
			return &UnknownError{name, spread.String()}
		}
	}
	over := 1
	if e.cfg.Spread != nil {
		over = e.cfg.Spread.Len()
	}
	for i, sh := range e.cfg.Shards {
		if i >= over && sh.Name != route.Nobody { // a bucket that only a route leads to
			add(sh.Name)
		}
	}
	c.Routes = make(map[string]int)
	for kind, to := range e.cfg.Routes {
		if name := e.cfg.Shards[to].Name; name != route.Nobody {
			c.Routes[kind] = add(name)
		}
	}
	if e.cfg.Nobody == 0 && !nobody {
		return nil
	}
	c.Nobody = len(c.Shards)
	c.Shards = append(c.Shards, Nobody())
	for kind, to := range e.cfg.Routes {
		if e.cfg.Shards[to].Name == route.Nobody {
			c.Routes[kind] = c.Nobody
		}
	}
	return nil
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
		unnoted := len(e.letGo) > 0 && time.Since(e.noted) > time.Second
		e.mu.RUnlock()
		if at < 0 && !unnoted {
			continue
		}
		e.changing.Lock()
		if unnoted {
			e.noteLetGo()
		}
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
		e.books(r).add(r, r.Account(), r.Stats()) // before its cursors go: it may move them
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

// gaveUp is called for each row that a mirror gives up.
func (e *Eras) gaveUp(entry *pingline.Entry) {
	day := "unknown"
	if ms, ok := entry.StoredAt(); ok {
		day = time.UnixMilli(ms).UTC().Format(time.DateOnly)
	}
	e.mu.RLock()
	known := slices.Contains(e.rec.LetGo, day) || e.letGo[day]
	e.mu.RUnlock()
	if !known {
		e.mu.Lock()
		e.letGo[day] = true
		e.mu.Unlock()
	}
}

// noteLetGo notes the days of rows that were given up. The caller holds changing.
func (e *Eras) noteLetGo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	rec := e.rec.clone()
	rec.LetGo = addNames(rec.LetGo, sortedKeys(e.letGo)...)
	clear(e.letGo)
	e.noted = time.Now()
	e.logger.Warn("the log is filling up: the oldest of what waits for a mirror is given up", "set", cmp.Or(e.cfg.Set, "main"), "change", rec.ID, "days", rec.LetGo)
	var change queue.Change
	resume.NoteEras(&change, e.cfg.Set, rec.String())
	e.cfg.Log.Change(change)
	e.rec = rec
}

// addNames adds names that are not there.
func addNames(list []string, names ...string) []string {
	for _, name := range names {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}
