// Package sink carries stored pings from the log into stores.
//
// Each shard has lanes: readers of the log that each write a part of its pings.
// Those with events go first; late ones and those that an outage left behind are
// written beside the rest. Which lane an entry belongs to is a
// function of the entry, its commit and the configured shards alone, so that
// every entry has exactly one. A lane's cursor moves only when the store has taken
// all before it, so that every ping reaches its store at least once, whatever
// dies in between; a second write of a ping overwrites the first. The sink never
// gives up and never drops: while a store is in trouble or refuses our credentials
// the log waits, or another shard stands in, and memory does not grow. A row that
// a store refuses for its content goes to the dead letters, alone; when these
// are full, or more than one row in a hundred is refused, the lane stands still
// and says so. Rows that the store would have deleted by now are an exception:
// they stop no lane, and are only counted once the dead letters are half full.
// Lines of our own that only a shard which is down can take become dead letters
// when the log is filling up.
//
// It does not promise order: a batch that was broken off is written again,
// several are on their way at once, and late pings come late. Pings that the log
// has lost it can only count.
package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/deadletter"
	"pingline/sink/health"
	"pingline/sink/route"
	"pingline/sink/store"
)

// Shard is one place to store pings in.
type Shard struct {
	Name  string // unique, [A-Za-z0-9._:@-]; part of names in the log, so a renamed shard starts anew
	Store store.Store
}

// Config sets up a Sink. Log, Shards and DeadLetterDir are required.
type Config struct {
	Log    *queue.Log
	Shards []Shard // those of Spread are of one kind of store: a row of one is written to another

	// Spread decides which of Shards stores a ping; its shards are the first of
	// Shards, in that order. The others get only the entries that Routes sends there.
	// nil sends all to the first.
	Spread *partition.Shards

	// Routes sends entries of these names to one of Shards, by index: "location" and
	// "event", pings without and with an event; "activity" and "self", our own
	// lines. Without one, pings are spread and our own lines go to the first.
	Routes map[string]int

	// Moved names shards that were taken away and whose points are elsewhere, or not
	// wanted: without them nothing is missing.
	Moved []string

	// HandOver is how long a shard of Spread is down before its lanes write to the
	// others of Spread, 0 never. Down means that it does not store the writes it is
	// given, whatever the reason. With a policy of StandIn it need not last. Entries
	// that Routes names a shard for wait for it: its readers look nowhere else.
	HandOver time.Duration
	Policy   func() pingline.Policy // in force; nil means that of level 0

	BatchLines  int           // most lines of a write; 0 means 5,000
	BatchBytes  int           // most bytes of them before compression; 0 means 4 MiB, at least 32 KiB
	BatchWait   time.Duration // how long the first line of a batch waits for more, events a tenth; 0 means 1 s
	BatchMemory int           // bytes of all batches, shared out among the shards; 0 means 64 MiB, at least 512 KiB a shard
	Timeout     time.Duration // of one write; 0 means 10 s
	RetryMax    time.Duration // longest wait between two attempts, unless the store asks for more; 0 means 10 s
	JumpAfter   time.Duration // how far live pings fall behind before the newest go first; 0 means 30 s, negative never
	Grace       time.Duration // of writes in flight at the end; 0 means 5 s

	DeadLetterDir      string // made if missing
	DeadLetterMaxBytes int64  // 0 means 1 GiB

	Logger *slog.Logger // nil means slog.Default()

	// ObserveWrite, if set, is told of each write that was taken, and
	// ObserveFreshness of each ping in it: now − ts.
	ObserveWrite     func(shard string, seconds float64)
	ObserveFreshness func(shard, lane string, seconds float64)
}

// Sink writes the entries of the log to its shards.
type Sink struct {
	cfg    Config
	router route.Router
	routes *route.Cache
	clock  clock
	gone   gone // does not change
	dead   *deadletter.Dir
	shards []*shard
	lanes  []*lane                         // route.LaneKinds for each shard; holes are with the shards
	start  [pingline.TotalLines + 1]uint64 // by total: entries that the saved cursors have passed

	// reconciling is held while damage is reconciled. It is taken before the
	// mutexes of the shards' counters and of the lanes.
	reconciling sync.Mutex
}

// New returns a sink that goes on where the log's cursors stand. If they were
// saved under another set of shards, weights or routes, it goes back to the
// lowest of them.
func New(cfg Config) (*Sink, error) {
	cfg.BatchLines = cmp.Or(cfg.BatchLines, 5000)
	cfg.BatchBytes = cmp.Or(cfg.BatchBytes, 4<<20)
	cfg.BatchWait = cmp.Or(cfg.BatchWait, time.Second)
	cfg.BatchMemory = cmp.Or(cfg.BatchMemory, 64<<20)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.RetryMax = cmp.Or(cfg.RetryMax, 10*time.Second)
	cfg.JumpAfter = cmp.Or(cfg.JumpAfter, 30*time.Second)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	cfg.DeadLetterMaxBytes = cmp.Or(cfg.DeadLetterMaxBytes, 1<<30)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	if cfg.Policy == nil {
		cfg.Policy = func() pingline.Policy { return pingline.PolicyAt(0) }
	}
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	dead, err := deadletter.Make(cfg.DeadLetterDir, cfg.DeadLetterMaxBytes)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	s := &Sink{cfg: cfg, dead: dead}
	s.router = route.NewRouter(cfg.layout())
	s.routes = route.NewCache(s.router.LaneOf, len(cfg.Shards)*int(route.LaneKinds))
	saved, err := resume(&cfg)
	if err != nil {
		return nil, fmt.Errorf("sink: %w", err)
	}
	s.gone = parseGone(cfg.Log.Note(goneNote))
	for i := range cfg.Shards {
		s.shards = append(s.shards, s.newShard(i))
		for kind := range route.LaneKinds {
			at := saved.lanes[i][kind]
			s.lanes = append(s.lanes, s.newLane(i, kind, at))
			s.start[kind.Total()] += at.Passed
		}
		for _, h := range saved.holes[i] {
			s.shards[i].holes.add(h)
			s.start[pingline.TotalStored] += h.at.Passed
		}
	}
	return s, nil
}

func (c *Config) check() error {
	switch {
	case c.Log == nil || c.DeadLetterDir == "":
		return errors.New("no log or no directory for dead letters")
	case len(c.Shards) == 0:
		return errors.New("no shards")
	case c.BatchLines < 1 || c.BatchBytes < minBatchBytes:
		return fmt.Errorf("batches of %d lines, %d bytes: at least 1 and %d", c.BatchLines, c.BatchBytes, minBatchBytes)
	case c.BatchWait < 0 || c.Timeout < 0 || c.RetryMax < time.Millisecond || c.Grace < 0 || c.HandOver < 0 || c.DeadLetterMaxBytes < 0 || c.BatchMemory < 0:
		return fmt.Errorf("negative or too short: batch wait %v, timeout %v, longest retry %v, grace %v, hand-over %v, dead letters %d bytes, batches %d bytes",
			c.BatchWait, c.Timeout, c.RetryMax, c.Grace, c.HandOver, c.DeadLetterMaxBytes, c.BatchMemory)
	}
	seen := make(map[string]bool)
	for _, s := range c.Shards {
		if err := pingline.CheckName("shard", s.Name); err != nil {
			return fmt.Errorf("shard %q: %w", s.Name, err)
		}
		if s.Store == nil || seen[s.Name] {
			return fmt.Errorf("shard %q has no store, or is there twice", s.Name)
		}
		seen[s.Name] = true
	}
	return c.checkRoutes()
}

func (c *Config) checkRoutes() error {
	l := c.layout()
	if err := l.Check(); err != nil {
		return err
	}
	for i := range l.Over() {
		if one, other := reflect.TypeOf(c.Shards[0].Store), reflect.TypeOf(c.Shards[i].Store); one != other {
			return fmt.Errorf("pings are spread over shards of two kinds of store, %v and %v", one, other)
		}
	}
	return nil
}

func (c *Config) layout() route.Layout {
	l := route.Layout{Spread: c.Spread, Routes: c.Routes}
	for _, s := range c.Shards {
		l.Shards = append(l.Shards, s.Name)
	}
	return l
}

// Run passes the log on until ctx ends; then it gives the writes in flight
// Grace to be answered and returns nil. Entries that are not written wait in the log.
// Any other return means that the log cannot be read. It can be called once.
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

// lane returns a lane of shard i.
func (s *Sink) lane(i int, kind route.LaneKind) *lane {
	return s.lanes[i*int(route.LaneKinds)+int(kind)]
}

// Notes returns a sentence for each trouble that an operator must know of.
func (s *Sink) Notes() []string {
	notes := s.goneNotes()
	stats := s.Stats()
	for i, sh := range s.shards {
		note := sh.health.Note(stats[i].Queued)
		if note != "" && stats[i].HandedOver {
			note += "; others stand in for it"
		}
		if note != "" {
			notes = append(notes, note)
		}
	}
	for i, sh := range s.shards {
		if n := stats[i].Unkept; n > 0 {
			notes = append(notes, fmt.Sprintf("shard %s: %d rows older than it keeps were counted, but not kept as dead letters: such rows have their half of --deadletter-max-bytes", sh.Name, n))
		}
		if note := asideNote(sh.Name, stats[i].DeadLetters[reasonAside]); note != "" {
			notes = append(notes, note)
		}
		for _, l := range s.lanesOf(i) {
			if note := l.halt.Note(); note != "" {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// lanesOf returns the lanes of shard i, that of the hole being filled included.
func (s *Sink) lanesOf(i int) []*lane {
	list := slices.Clone(s.lanes[i*int(route.LaneKinds) : (i+1)*int(route.LaneKinds)])
	hs := &s.shards[i].holes
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.active != nil {
		list = append(list, hs.active)
	}
	return list
}

// DeadLetters returns those of all shards.
func (s *Sink) DeadLetters() *deadletter.Dir { return s.dead }

// Written returns the number of the first commit of which some ping may not be
// stored yet, or a dead letter: those before it are passed by all lanes. It never
// goes back.
func (s *Sink) Written() uint64 {
	next := uint64(math.MaxUint64)
	for _, l := range s.lanes {
		if l.kind != route.Own {
			next = min(next, l.position())
		}
	}
	// Holes are asked for behind the lanes: one that a lane leaves by then is
	// among them.
	for _, sh := range s.shards {
		next = min(next, sh.holes.lowest())
	}
	return next
}

// Kept returns how long pings are kept where they go to, those without an event
// and those with one: of several shards the least. 0 is for ever, or not known.
func (s *Sink) Kept() (pings, events time.Duration) {
	return s.kept(route.Location), s.kept(route.Event)
}

func (s *Sink) kept(route int) (keep time.Duration) {
	from, to := s.router.Goals(route)
	for _, sh := range s.shards[from:to] {
		keep = health.Least(keep, sh.expiry.Keeps())
	}
	return keep
}

// learnEvery is how often a store is asked how long it keeps rows.
const learnEvery = 10 * time.Second

// learn asks how long pings are kept until ctx ends, and returns nil. A server
// that does not answer is asked by a goroutine of its own, so that it holds up
// no other.
func (s *Sink) learn(ctx context.Context, sh *shard) error {
	says, ok := sh.Store.(store.Retainer)
	for ok && ctx.Err() == nil {
		if keep, told := says.Retention(ctx); told {
			sh.expiry.Tell(keep)
		}
		_ = sleep(ctx, learnEvery)
	}
	return nil
}
