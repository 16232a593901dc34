// Package sets joins the sinks of several sets of shards. Every set gets all that is routed
// to it, and its rows are spread over its shards alone: a set that is late or dead keeps no
// other from writing, only the log from being trimmed.
package sets

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline/partition"
	"pingline/queue"
	"pingline/sink"
	"pingline/sink/deadletter"
	"pingline/sink/reshard"
	"pingline/sink/resume"
)

// Main is the name of the first set, to which shards belong that name no other.
const Main = "main"

// ShardSet is the shards of a set.
type ShardSet struct {
	Name   string // Main of the first
	Shards []sink.ShardStore
	Spread *partition.Shards                          // over which rows are spread: the first of Shards
	Routes map[string]int                             // by kind, as sink.Config has them; -1: the kind is for other sets only
	Wait   time.Duration                              // as sink.Config.BatchWait, if it is not 0
	Open   func(text string) (sink.ShardStore, error) // opens a shard that the log tells of; nil: none is
	Drop   bool                                       // the oldest of what waits for it is given up when the log is filling up; not of the first
}

// Having returns the shards that entries of some kinds may be in, of all that are known: also
// shards that they were spread over before a route led all to one. over names the shards over
// which rows are, or were, spread.
func (s *ShardSet) Having(known []sink.ShardStore, over, kinds []string) (list []sink.ShardStore) {
	seen := make(map[string]bool)
	for _, kind := range kinds {
		to, routed := s.Routes[kind]
		if routed && to < 0 {
			continue
		}
		for _, sh := range known {
			if is := slices.Contains(over, sh.Name) || routed && sh.Name == s.Shards[to].Name; is && !seen[sh.Name] {
				seen[sh.Name] = true
				list = append(list, sh)
			}
		}
	}
	return list
}

// Over returns the names of the shards over which rows are spread.
func (s *ShardSet) Over() (names []string) {
	for i := range s.Spread.Len() {
		names = append(names, s.Spread.At(i).Name)
	}
	return names
}

// Sets are the sinks of a node, at least one. They are safe for concurrent use, like a Sink.
type Sets struct {
	list   []named
	read   int // index of the set whose pings are read
	log    *queue.Log
	logger *slog.Logger
}

type named struct {
	name string
	drop bool
	*reshard.Eras
}

// Open opens a sink for each set, the main set first, with the settings that cfg has for all;
// they share its memory of batches. read is the index of the set whose pings are read. Sets
// that the log knows and that are not in the list hold nothing back any more.
func Open(cfg sink.Config, read int, list []ShardSet) (*Sets, error) {
	var names []string
	for _, set := range list {
		names = append(names, set.Name)
	}
	gone, err := resume.DropSets(cfg.Log, names)
	if err != nil {
		return nil, err
	}
	s := &Sets{read: read, log: cfg.Log, logger: cmp.Or(cfg.Logger, slog.Default())}
	for _, name := range gone {
		s.logger.Warn("a set of shards was taken away: what waited for it goes to it no more", "set", name)
	}
	for i, set := range list {
		c := cfg
		c.Shards, c.Spread, c.Routes, c.BatchMemory = set.Shards, set.Spread, set.Routes, cfg.BatchMemory/len(list)
		c.BatchWait = cmp.Or(set.Wait, cfg.BatchWait)
		if len(list) > 1 {
			leaveToOthers(&c, i, list)
		}
		one, err := reshard.Open(c, set.Open)
		if err != nil {
			return nil, err
		}
		s.list = append(s.list, named{set.Name, set.Drop && i > 0, one})
	}
	return s, nil
}

// leaveToOthers adds a shard that takes what is for other sets than number i, so that each
// entry has exactly one lane in every set.
func leaveToOthers(c *sink.Config, i int, list []ShardSet) {
	if i > 0 {
		c.Set = list[i].Name
	}
	for k, other := range list {
		for _, shard := range other.Shards {
			if k != i {
				c.Others = append(c.Others, shard.Name)
			}
		}
	}
	c.Nobody = len(c.Shards)
	c.Shards = append(slices.Clone(c.Shards), reshard.Nobody())
	c.Routes = maps.Clone(c.Routes)
	for kind, to := range c.Routes {
		if to < 0 {
			c.Routes[kind] = c.Nobody
		}
	}
}

// Len returns how many sets there are.
func (s *Sets) Len() int { return len(s.list) }

// Run runs all sinks until ctx is cancelled, or until one fails.
func (s *Sets) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, one := range s.list {
		g.Go(func() error { return one.Run(ctx) })
	}
	g.Go(func() error { return s.room(ctx) })
	return g.Wait()
}

// Account returns the fates of all entries of the log in the set that is read.
func (s *Sets) Account() sink.Account { return s.list[s.read].Account() }

// Accounts returns the fates of all entries of the log in each set, by its name.
func (s *Sets) Accounts() map[string]sink.Account {
	all := make(map[string]sink.Account, len(s.list))
	for _, one := range s.list {
		all[one.name] = one.Account()
	}
	return all
}

// Queued returns how many stored pings, and how many lines of our own, wait for a set; one
// that waits for two counts twice.
func (s *Sets) Queued() (pings, lines uint64) {
	for _, one := range s.list {
		a := one.Account()
		pings, lines = pings+a.Pings.Queued, lines+a.Lines.Queued
	}
	return pings, lines
}

// Stats returns how each shard of each set does, those of the set that is read first.
func (s *Sets) Stats() []sink.Stats {
	list := s.list[s.read].Stats()
	for i, one := range s.list {
		if i != s.read {
			list = append(list, one.Stats()...)
		}
	}
	return list
}

// StatsOf returns how each shard of the set of a name does.
func (s *Sets) StatsOf(set string) []sink.Stats {
	return slices.DeleteFunc(s.Of(set).Stats(), func(st sink.Stats) bool { return st.Gone })
}

// Of returns the set of a name, nil if there is none.
func (s *Sets) Of(set string) *reshard.Eras {
	i := slices.IndexFunc(s.list, func(one named) bool { return one.name == set })
	if i < 0 {
		return nil
	}
	return s.list[i].Eras
}

// Primary returns how the shards of the set that is read do, mirrors apart.
func (s *Sets) Primary() []sink.Stats { return s.list[s.read].Primary() }

// Mirrors returns the fates of all entries of the log in the mirror of each set that has one.
func (s *Sets) Mirrors() map[string]sink.Account {
	all := make(map[string]sink.Account)
	for _, one := range s.list {
		if a, is := one.MirrorAccount(); is {
			all[one.name] = a
		}
	}
	return all
}

// Changes returns how far the changes of the shards of each set are.
func (s *Sets) Changes() (list []reshard.SetStatus) {
	for _, one := range s.list {
		list = append(list, one.Status())
	}
	return list
}

// Notes returns a sentence for each trouble that an operator must know of.
func (s *Sets) Notes() (notes []string) {
	for _, one := range s.list {
		notes = append(notes, one.Notes()...)
	}
	return slices.Compact(notes)
}

// Written returns the number of the first commit of which some ping may be neither stored
// nor a dead letter yet in one of the sets of these names, or in any set if none is named.
func (s *Sets) Written(names ...string) uint64 {
	next := uint64(math.MaxUint64)
	for _, one := range s.list {
		if len(names) == 0 || slices.Contains(names, one.name) {
			next = min(next, one.Written())
		}
	}
	return next
}

// WrittenAll is Written of all sets, with their mirrors.
func (s *Sets) WrittenAll() uint64 {
	next := uint64(math.MaxUint64)
	for _, one := range s.list {
		next = min(next, one.WrittenAll())
	}
	return next
}

// MaxMemory returns about how many bytes the sinks take at most, if their batches have so many
// together while no shards are changed.
func (s *Sets) MaxMemory(batches int) (sum int64) {
	for _, one := range s.list {
		sum += int64(one.Len()) * sink.MaxMemory(batches/len(s.list))
	}
	return sum
}

// Memory returns how many bytes the sinks take: see sink.Sink.Memory.
func (s *Sets) Memory() (sum int64) {
	for _, one := range s.list {
		sum += one.Memory()
	}
	return sum
}

// Kept returns how long the set that is read keeps pings: see sink.Sink.Kept.
func (s *Sets) Kept() (pings, events time.Duration) { return s.list[s.read].Kept() }

// GoneBefore returns the time, ms, before which the sets of these names may lack points: see
// sink.Sink.GoneBefore.
func (s *Sets) GoneBefore(names ...string) (at int64) {
	for _, one := range s.list {
		if slices.Contains(names, one.name) {
			at = max(at, one.GoneBefore())
		}
	}
	return at
}

// DeadLetters returns the dead letters of all shards of all sets.
func (s *Sets) DeadLetters() *deadletter.Dir { return s.list[0].DeadLetters() }
