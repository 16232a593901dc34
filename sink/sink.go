// Package sink carries stored pings from the log into stores.
//
// Each shard has lanes: readers of the log that each write a part of its pings.
// Pings with events go first; late pings, and pings that an outage left behind,
// are written beside the rest. Which lane an entry belongs to is a function of the
// entry, its commit and the configured shards alone, so that every entry has
// exactly one lane. A lane's cursor moves only when the store has taken everything
// before it, so that every ping reaches its store at least once, whatever dies in
// between; a second write of a ping overwrites the first. The sink never gives up
// and never drops: while a store is in trouble or refuses our credentials the log
// waits, or another shard stands in, and memory does not grow. A row that a store
// refuses for its content goes to the dead letters, alone. When the dead letters
// are full, or more than one row in a hundred is refused, the lane stands still
// and says so. Rows that the store would have deleted by now are an exception:
// they stop no lane, and are only counted once the dead letters are half full.
// Lines of our own that only a shard which is down can take become dead letters
// when the log is filling up.
//
// It does not promise order: a write that was broken off is made again, several
// are in flight at once, and late pings come late. Pings that the log has lost
// are only counted.
package sink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/internal/pause"
	"pingline/sink/deadletter"
	"pingline/sink/resume"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Sink writes the entries of the log to its shards.
type Sink struct {
	cfg    Config
	router route.Router
	routes *route.Cache
	clock  ageClock
	gone   resume.Removed // does not change
	dead   *deadletter.Dir
	shards []*shard
	lanes  []*lane                         // route.LaneKinds for each shard; holes are with the shards
	start  [pingline.TotalLines + 1]uint64 // by total: entries that the saved cursors have passed

	givingUp givingUp

	lacking sync.Mutex   // guards lacks; taken after the mutexes of lanes
	lacks   resume.Lacks // the gaps of the set

	// reconciling is held while damage is reconciled. It is taken before the
	// mutexes of the shards' counters and of the lanes.
	reconciling sync.Mutex
}

// New returns a sink that goes on where the log's cursors stand. If they were
// saved under another set of shards, weights or routes, it goes back to the
// lowest of them.
func New(cfg Config) (*Sink, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	dead, err := deadletter.Make(cfg.DeadLetterDir, cfg.DeadLetterMaxBytes)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	s := &Sink{cfg: cfg, dead: dead}
	s.router = route.NewRouter(cfg.Layout())
	s.routes = route.NewCache(s.router.LaneOf, len(cfg.Shards)*int(route.LaneKinds))
	saved, err := resume.From(resume.Config{Log: cfg.Log, Layout: cfg.Layout(), Moved: cfg.Moved, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	s.gone, s.lacks = resume.RemovedFrom(cfg.Log, cfg.Set), resume.LacksOf(cfg.Log, s.lacksOf())
	for i := range cfg.Shards {
		s.shards = append(s.shards, s.newShard(i))
		for kind := range route.LaneKinds {
			at := saved.Lanes[i][kind]
			s.lanes = append(s.lanes, s.newLane(i, kind, at))
			s.start[kind.Total()] += at.Passed
		}
		for _, h := range saved.Holes[i] {
			s.shards[i].holes.add(h)
			s.start[pingline.TotalStored] += h.At.Passed
		}
	}
	return s, nil
}

// Run carries entries to the stores until ctx ends; then it waits up to Grace for the
// answers to writes in flight and returns nil. Entries that are not written wait in
// the log. Any other return means that the log cannot be read. It can be called once.
func (s *Sink) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range s.lanes {
		g.Go(func() error { return l.run(ctx) })
	}
	g.Go(func() error { return s.watch(ctx) })
	for i, sh := range s.shards {
		g.Go(func() error { return s.backfill(ctx, i) })
		g.Go(func() error { return s.learn(ctx, sh) })
	}
	return g.Wait()
}

// known returns the shards but Config.Nobody.
func (s *Sink) known() []*shard {
	if n := s.cfg.Nobody; n > 0 {
		return s.shards[:n]
	}
	return s.shards
}

// lane returns a lane of shard i.
func (s *Sink) lane(i int, kind route.LaneKind) *lane {
	return s.lanes[i*int(route.LaneKinds)+int(kind)]
}

// learnEvery is how often a store is asked how long it keeps rows.
const learnEvery = 10 * time.Second

// learn asks a store again and again how long it keeps pings, until ctx ends,
// and returns nil. Each store has a goroutine of its own, so that a server
// that does not answer holds up no other store.
func (s *Sink) learn(ctx context.Context, sh *shard) error {
	says, ok := sh.Store.(store.Retainer)
	for ok && ctx.Err() == nil {
		if keep, told := says.Retention(ctx); told {
			sh.expiry.Tell(keep)
		}
		_ = pause.For(ctx, learnEvery)
	}
	return nil
}

// watch looks for jumps of the wall clock until ctx ends, and returns nil.
func (s *Sink) watch(ctx context.Context) error {
	for ctx.Err() == nil {
		s.clock.look(s.cfg.Log.Head().Next)
		_ = pause.For(ctx, time.Second)
	}
	return nil
}

// age returns for how long a commit has been in the log.
func (s *Sink) age(number uint64, since time.Time) time.Duration {
	return s.clock.age(number, since.UnixMilli(), s.cfg.Log.Head().Next)
}
