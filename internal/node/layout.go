package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"pingline/internal/storecheck"
	"pingline/partition"
	"pingline/query"
	"pingline/sink"
	"pingline/sink/reshard"
	"pingline/sink/sets"
	"pingline/sink/store"
)

// layout decides where points go: the sets of shards, and how keys are spread.
type layout struct {
	sets []*layoutSet // the main set first
	read *layoutSet   // whose pings are read

	reading readFrom // of what is asked for without naming a set
	keys    *partition.Keys
	buckets []bucketAddress // of all shards
}

// readFrom is a choice of stores that are read.
type readFrom struct {
	sets  []string // that the pings are in
	parts []readPart
	whole *layoutSet // whose stores may have points that are no pings; nil: none
}

// readPart is the kinds of pings that are read from a set.
type readPart struct {
	set   *layoutSet
	kinds []string
}

// pings returns the shards that pings may be in.
func (r *readFrom) pings() (list []query.ShardReader) {
	for _, p := range r.parts {
		list = append(list, p.set.readers(p.kinds)...)
	}
	return list
}

// points returns the stores of points that are no pings.
func (r *readFrom) points() []store.PointReader {
	if r.whole == nil {
		return nil
	}
	return r.whole.withPoints()
}

// layoutSet is a set of shards, of which Spread are the first.
type layoutSet struct {
	sets.ShardSet
	live *reshard.Eras // once its sinks are open: its shards may change then
}

// known returns all shards of the set, and the names of those over which rows are, or were,
// spread.
func (s *layoutSet) known() (list []sink.ShardStore, over []string) {
	if s.live == nil {
		return s.Shards, s.Over()
	}
	return s.live.Shards(), s.live.Reading()
}

// bucketAddress is the bucket of a shard, and the setting that names it.
type bucketAddress struct {
	url, org, name, setting string

	set   *layoutSet
	shard int // index in set
}

func (b *bucketAddress) same(o *bucketAddress) bool {
	return b.url == o.url && b.org == o.org && b.name == o.name
}

// openLayout makes the shards, routes and stores from the settings.
func openLayout(c *Config) (*layout, error) {
	s, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	splits, err := partition.OpenHotCells(c.HotCells, c.CellRes)
	if err != nil {
		return nil, fmt.Errorf("--hot-cells: %w", err)
	}
	s.keys, err = partition.NewKeys(partition.KeyConfig{
		Shards: s.read.Spread, By: c.PartitionBy, HotRate: c.HotCellRate, Splits: splits,
	})
	return s, err
}

// newLayout is openLayout without reading files.
func newLayout(c *Config) (*layout, error) {
	specs := c.specs()
	s := &layout{}
	for _, name := range c.setNames() {
		set := &layoutSet{ShardSet: sets.ShardSet{Name: name, Routes: make(map[string]int)}}
		s.sets = append(s.sets, set)
		var list []partition.Shard
		for _, spec := range specs {
			if spec.setName() != name {
				continue
			}
			if err := s.add(c, set, spec, "--shard name="+spec.Name); err != nil {
				return nil, err
			}
			set.Drop = set.Drop || spec.DropSet
			list = append(list, partition.Shard{Name: spec.Name, Weight: spec.Weight})
		}
		if c.latestOnly(name) {
			if len(list) > 1 { // riders move from shard to shard
				return nil, wrong("shard", "the set %q has %d shards: a Redis is alone in its set: name another set=, and spread riders over a cluster by tags=", name, len(list))
			}
			set.Wait = min(c.RedisFlush, c.BatchWait)
		}
		var err error
		if set.Spread, err = partition.NewShards(list...); err != nil {
			return nil, err
		}
	}
	for _, set := range s.sets[1:] {
		for _, kind := range sets.Kinds {
			set.Routes[kind] = -1
		}
	}
	for _, r := range sets.Complete(c.Routes) {
		if err := s.addRoute(c, specs, &r); err != nil {
			return nil, err
		}
	}
	s.chooseReading(c)
	return s, nil
}

// first returns the first set of a kind's route that can be read, or the first.
func (s *layout) first(c *Config, kind string, readable func(*layoutSet) bool) (set *layoutSet) {
	for _, to := range sets.Targets(c.Routes, kind) {
		one := s.sets[slices.Index(c.setNames(), c.setOf(to.Name))]
		if readable(one) {
			return one
		}
		set = cmp.Or(set, one)
	}
	return set
}

// chooseReading chooses from which sets is read.
func (s *layout) chooseReading(c *Config) {
	readsPings := func(set *layoutSet) bool { return len(set.readers(sets.PingKinds)) > 0 }
	s.read = s.first(c, "location", readsPings)
	s.reading = readFrom{sets: []string{s.read.Name}, parts: []readPart{{s.read, sets.PingKinds}}}
	if to, routed := s.read.Routes["event"]; routed && to < 0 {
		events := s.first(c, "event", readsPings)
		s.reading.sets, s.reading.parts = append(s.reading.sets, events.Name), append(s.reading.parts, readPart{events, []string{"event"}})
	}
	s.reading.whole = s.first(c, "activity", func(set *layoutSet) bool { return len(set.withPoints()) > 0 })
}

// reading has the stores of a set that can be read, for pings and points of the kinds that are routed to it.
func (s *layoutSet) reading() *readFrom {
	r := &readFrom{sets: []string{s.Name}, parts: []readPart{{s, sets.PingKinds}}}
	if to, routed := s.Routes["activity"]; !routed || to >= 0 {
		r.whole = s
	}
	return r
}

// specs returns the shards, by default the only one.
func (c *Config) specs() []ShardConfig {
	if len(c.Shards) == 0 {
		return []ShardConfig{{Name: soleShard, Weight: 1}}
	}
	return c.Shards
}

// setName returns the name of the set of a shard.
func (s *ShardConfig) setName() string { return cmp.Or(s.Set, sets.Main) }

// setNames returns the names of all sets, that of the main set first.
func (c *Config) setNames() []string {
	names := []string{sets.Main}
	for _, spec := range c.specs() {
		if !slices.Contains(names, spec.setName()) {
			names = append(names, spec.setName())
		}
	}
	return names
}

// setOf returns the set that a name of a set or of a shard leads to, "" for no such name.
func (c *Config) setOf(name string) string {
	if slices.Contains(c.setNames(), name) {
		return name
	}
	for _, spec := range c.specs() {
		if spec.Name == name {
			return spec.setName()
		}
	}
	return ""
}

// add adds a shard to a set; a setting names it. Its empty settings are taken from
// --influx-…. Two shards with the same bucket, or with the same name, are refused.
func (s *layout) add(c *Config, set *layoutSet, spec ShardConfig, setting string) error {
	at := bucketOf(c, spec)
	at.setting, at.set, at.shard = setting, set, len(set.Shards)
	for _, other := range s.buckets {
		switch {
		case at.same(&other):
			return fmt.Errorf("%s and %s are the same bucket", other.setting, setting)
		case other.set.Shards[other.shard].Name == spec.Name:
			return fmt.Errorf("%s and %s: both would be called %q", other.setting, setting, spec.Name)
		}
	}
	to, err := OpenStore(spec, c)
	if err != nil {
		return blame(err, setting)
	}
	set.Shards = append(set.Shards, sink.ShardStore{Name: spec.Name, Store: to})
	s.buckets = append(s.buckets, at)
	return nil
}

// soleShard is the name of the only shard if no --shard is given.
const soleShard = "a"

// blame names the setting at fault for a *keyError: the key of a shard, or the flag
// that holds for all shards which do not have the key.
func blame(err error, setting string) error {
	at := new(keyError)
	switch {
	case !errors.As(err, &at):
		return fmt.Errorf("%s: %w", setting, err)
	case at.inherited && at.key == "url":
		return &SettingError{"influx-host", at.err}
	case at.inherited:
		return &SettingError{"influx-" + at.key, at.err}
	}
	return fmt.Errorf("%s: %s: %w", setting, at.key, at.err)
}

// bucketOf returns the bucket of a shard, equal for equal places however the
// URL is written.
func bucketOf(c *Config, spec ShardConfig) bucketAddress {
	at := storecheck.Place(cmp.Or(spec.URL, c.Influx.Host))
	return bucketAddress{url: at, org: cmp.Or(spec.Org, c.Influx.Org), name: cmp.Or(spec.Bucket, c.Influx.Bucket)}
}

// addRoute decides where each set takes a kind from. It makes a shard for a bucket that a
// route names, over which no pings are spread; if the bucket belongs to a shard already, the
// route leads to that shard.
func (s *layout) addRoute(c *Config, specs []ShardConfig, r *sets.Route) error {
	kind := r.Kind
	s.sets[0].Routes[kind] = -1
	for _, target := range r.To {
		set := s.sets[slices.Index(c.setNames(), c.setOf(target.Name))]
		delete(set.Routes, kind)
		if target.Name == set.Name { // spread, or the first shard
			continue
		}
		spec := specs[slices.IndexFunc(specs, func(s ShardConfig) bool { return s.Name == target.Name })]
		if target.Bucket != "" {
			spec.Name, spec.Bucket = target.BucketName(), target.Bucket
		}
		at := bucketOf(c, spec)
		to := slices.IndexFunc(s.buckets, func(b bucketAddress) bool { return b.same(&at) })
		if to < 0 {
			to = len(s.buckets)
			if err := s.add(c, set, spec, fmt.Sprintf("--route %s=%s/%s", kind, target.Name, target.Bucket)); err != nil {
				return err
			}
		}
		if s.buckets[to].set != set {
			return fmt.Errorf("--route %s=%s/%s is the bucket of %s, which is in another set", kind, target.Name, target.Bucket, s.buckets[to].setting)
		}
		set.Routes[kind] = s.buckets[to].shard
	}
	return nil
}

// all returns the shards of all sets.
func (s *layout) all() (list []sink.ShardStore) {
	for _, set := range s.sets {
		known, _ := set.known()
		list = append(list, known...)
	}
	return list
}

// withPings returns the shards of all sets that pings may be in.
func (s *layout) withPings() (list []sink.ShardStore) {
	for _, set := range s.sets {
		list = append(list, set.having(sets.PingKinds)...)
	}
	return list
}

// having returns the shards that entries of some kinds may be in: see sets.ShardSet.Having.
func (s *layoutSet) having(kinds []string) []sink.ShardStore {
	known, over := s.known()
	return s.Having(known, over, kinds)
}

// readers returns the shards that pings of some kinds may be in, as far as they can be read.
func (s *layoutSet) readers(kinds []string) (list []query.ShardReader) {
	for _, sh := range s.having(kinds) {
		if r, ok := sh.Store.(store.Reader); ok {
			list = append(list, query.ShardReader{Name: sh.Name, Reader: r})
		}
	}
	return list
}

// withPoints returns the stores that can be asked for points that are no pings.
func (s *layoutSet) withPoints() (list []store.PointReader) {
	known, over := s.known()
	for i, sh := range known {
		routed := i >= s.Spread.Len() && i < len(s.Shards)
		if r, ok := sh.Store.(store.PointReader); ok && (routed || slices.Contains(over, sh.Name)) {
			list = append(list, r)
		}
	}
	return list
}
