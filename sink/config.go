package sink

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"pingline"
	"pingline/partition"
	"pingline/queue"
	"pingline/sink/batch"
	"pingline/sink/limit"
	"pingline/sink/route"
	"pingline/sink/store"
	"reflect"
	"slices"
	"time"
)

// ShardStore names a store as a shard.
type ShardStore struct {
	Name  string // unique, [A-Za-z0-9._:@-]; part of names in the log, so a renamed shard starts anew
	Store store.Store
}

// Config sets up a Sink. Log, Shards and DeadLetterDir are required.
type Config struct {
	Log    *queue.Log
	Shards []ShardStore // the shards of Spread go together: see Together

	// Spread decides which of Shards stores a ping; its shards are the first of
	// Shards, in that order. The rest of Shards gets only the entries that Routes
	// sends there. nil sends all to the first shard.
	Spread *partition.Shards

	// Routes sends entries of these names to one of Shards, by index: "location" and
	// "event", pings without and with an event; "activity" and "self", our own
	// lines. Without a route, pings are spread and our own lines go to the first
	// shard.
	Routes map[string]int

	// Where there are several sets of shards, each has a Sink of its own on the same Log, and
	// gets what is routed to it: see route.Layout. The shard Nobody is the last.
	Set    string
	Others []string
	Nobody int

	// Where the shards of a set change while it runs, each layout has a Sink of its own, for a
	// part of the log: see route.Layout. Until says where that part ends; nil: it does not. A
	// sink that is Beside another is never stood in for. GaveUp is called for each entry that
	// is given up, Refused for entries that became dead letters, and StoodIn with the name of
	// a shard that took rows of another: each before the cursor of the lane moves.
	Era     string
	Until   *batch.Fence
	Beside  *route.Layout
	GaveUp  func(e *pingline.Entry)
	Refused func(rows int)
	StoodIn func(shard string)

	// Latch returns that of a shard, which each write to it enters; nil: there is none.
	Latch func(shard string) *limit.Latch

	// Moved names shards that were taken away and whose points are elsewhere, or not
	// wanted: without them nothing is missing.
	Moved []string

	// HandOver is how long a shard of Spread is down before its lanes write to the
	// rest of Spread; 0 means never. Down means that the shard does not store the
	// writes it is given, whatever the reason. A policy with StandIn does not wait
	// for HandOver. Entries that Routes names a shard for wait for it, since its
	// readers look nowhere else.
	HandOver time.Duration
	Policy   func() pingline.Policy // in force; nil means that of level 0

	BatchLines  int           // most lines of a write; 0 means 5,000
	BatchBytes  int           // most bytes of a write before compression; 0 means 4 MiB, at least 32 KiB
	BatchWait   time.Duration // how long the first line of a batch waits for more, events a tenth; 0 means 1 s
	BatchMemory int           // bytes of all batches, shared out among the shards; 0 means 64 MiB, at least 512 KiB a shard
	Timeout     time.Duration // of a write; 0 means 10 s
	RetryMax    time.Duration // longest wait between two attempts, unless the store asks for more; 0 means 10 s
	JumpAfter   time.Duration // how far live pings fall behind before the newest go first; 0 means 30 s, negative never
	Grace       time.Duration // for writes in flight when Run ends; 0 means 5 s

	// Erased, if set, reports whether an entry of a commit is of a rider who was erased
	// meanwhile: it is passed and not written. It must be quick.
	Erased func(number uint64, e *pingline.Entry) bool

	DeadLetterDir      string // made if missing
	DeadLetterMaxBytes int64  // 0 means 1 GiB

	Logger *slog.Logger // nil means slog.Default()

	// ObserveWrite, if set, is called for each write that a store took, and
	// ObserveFreshness for its pings, with now − ts of each in seconds.
	ObserveWrite     func(shard string, seconds float64)
	ObserveFreshness func(shard, lane string, ages iter.Seq[float64])
}

// MaxMemory returns about how many bytes a sink takes at most if its BatchMemory
// is batches.
func MaxMemory(batches int) int64 { return batch.MostTimes*int64(batches) + route.CacheBytes }

// complete sets the defaults, and returns an error if a setting is wrong.
func (c *Config) complete() error {
	c.BatchLines = cmp.Or(c.BatchLines, 5000)
	c.BatchBytes = cmp.Or(c.BatchBytes, 4<<20)
	c.BatchWait = cmp.Or(c.BatchWait, time.Second)
	c.BatchMemory = cmp.Or(c.BatchMemory, 64<<20)
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.RetryMax = cmp.Or(c.RetryMax, 10*time.Second)
	c.JumpAfter = cmp.Or(c.JumpAfter, 30*time.Second)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	c.DeadLetterMaxBytes = cmp.Or(c.DeadLetterMaxBytes, 1<<30)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.Policy == nil {
		c.Policy = func() pingline.Policy { return pingline.PolicyAt(0) }
	}
	if c.Beside != nil {
		c.HandOver = 0
	}
	return c.check()
}

// minBatchBytes is the least that a batch may hold: some of the longest rows.
const minBatchBytes = 32 << 10

func (c *Config) check() error {
	switch {
	case c.Log == nil || c.DeadLetterDir == "":
		return errors.New("Config has no Log or no DeadLetterDir")
	case len(c.Shards) == 0:
		return errors.New("Config has no Shards")
	case c.BatchLines < 1 || c.BatchBytes < minBatchBytes:
		return fmt.Errorf("batches of %d lines, %d bytes: at least 1 and %d", c.BatchLines, c.BatchBytes, minBatchBytes)
	case c.BatchWait < 0 || c.Timeout < 0 || c.RetryMax < time.Millisecond || c.Grace < 0 || c.HandOver < 0 || c.DeadLetterMaxBytes < 0 || c.BatchMemory < 0:
		return fmt.Errorf("negative or too short: batch wait %v, timeout %v, longest retry %v, grace %v, hand-over %v, dead letters %d bytes, batches %d bytes",
			c.BatchWait, c.Timeout, c.RetryMax, c.Grace, c.HandOver, c.DeadLetterMaxBytes, c.BatchMemory)
	}
	seen := make(map[string]bool)
	for _, s := range c.Shards {
		if err := pingline.CheckName("shard", s.Name); err != nil && s.Name != route.Nobody {
			return fmt.Errorf("shard %q: %w", s.Name, err)
		}
		if s.Store == nil || seen[s.Name] {
			return fmt.Errorf("shard %q has no store, or is listed twice", s.Name)
		}
		seen[s.Name] = true
	}
	return c.checkRoutes()
}

func (c *Config) checkRoutes() error {
	l := c.Layout()
	if err := l.Check(); err != nil {
		return err
	}
	return Together(c.Shards[:l.Over()])
}

// Together returns an error if pings cannot be spread over shards while others are written and
// read beside them. Stores of several kinds must all be readable: a track is in all of them.
func Together(shards []ShardStore, beside ...ShardStore) error {
	all := slices.Concat(shards, beside)
	mixed := slices.ContainsFunc(all, func(s ShardStore) bool { return reflect.TypeOf(s.Store) != reflect.TypeOf(all[0].Store) })
	for i, s := range all {
		if _, readable := s.Store.(store.Reader); mixed && !readable {
			return fmt.Errorf("shard %s: tracks cannot be read from it, so it is with no shard of another kind: give it a set of its own, with set=…", s.Name)
		}
		if lone, ok := s.Store.(store.Lone); ok && i < len(shards) && len(shards) > 1 {
			return fmt.Errorf("shard %s: %s, so it is alone in its set: name another set=", s.Name, lone.Lone())
		}
	}
	return nil
}

// Layout returns the layout of the shards.
func (c *Config) Layout() route.Layout {
	l := route.Layout{Spread: c.Spread, Routes: c.Routes, Set: c.Set, Others: c.Others, Nobody: c.Nobody, Era: c.Era, Beside: c.Beside}
	for _, s := range c.Shards {
		l.Shards = append(l.Shards, s.Name)
	}
	return l
}
