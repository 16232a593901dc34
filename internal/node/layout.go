package node

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"pingline"
	"pingline/partition"
	"pingline/query"
	"pingline/sink"
	"pingline/sink/store"
)

// layout decides where points go: the shards, and how keys are spread over the
// first of them.
type layout struct {
	shards []sink.ShardStore
	over   *partition.Shards
	routes map[string]int
	keys   *partition.Keys

	buckets []bucketAddress // buckets of shards
}

// bucketAddress is the bucket of a shard, and the setting that names it.
type bucketAddress struct{ url, org, name, setting string }

func (b *bucketAddress) same(o *bucketAddress) bool {
	return b.url == o.url && b.org == o.org && b.name == o.name
}

// openLayout makes the shards, routes and stores from the settings.
func openLayout(c *Config) (*layout, error) {
	s, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	splits, err := hotCells(c)
	if err != nil {
		return nil, err
	}
	s.keys, err = partition.NewKeys(partition.KeyConfig{
		Shards: s.over, By: c.PartitionBy, HotRate: c.HotCellRate, Splits: splits,
	})
	return s, err
}

// newLayout is openLayout without reading files.
func newLayout(c *Config) (*layout, error) {
	specs := c.Shards
	if len(specs) == 0 {
		specs = []ShardConfig{{Name: soleShard, Weight: 1}}
	}
	s := &layout{routes: make(map[string]int)}
	var list []partition.Shard
	for _, spec := range specs {
		if err := s.add(c, spec); err != nil {
			return nil, err
		}
		list = append(list, partition.Shard{Name: spec.Name, Weight: spec.Weight})
	}
	var err error
	if s.over, err = partition.NewShards(list...); err != nil {
		return nil, err
	}
	return s, s.addRoutes(c, specs)
}

// add takes a --shard.
func (s *layout) add(c *Config, spec ShardConfig) error {
	return s.addAs(c, spec, "--shard name="+spec.Name)
}

// addAs adds a shard that a setting names; its empty settings are taken from
// --influx-…. Two shards with the same bucket, or with the same name, are
// refused.
func (s *layout) addAs(c *Config, spec ShardConfig, setting string) error {
	at := bucketOf(c, spec)
	at.setting = setting
	for i, other := range s.buckets {
		switch {
		case at.same(&other):
			return fmt.Errorf("%s and %s are the same bucket", other.setting, setting)
		case s.shards[i].Name == spec.Name:
			return fmt.Errorf("%s and %s: both would be called %q", other.setting, setting, spec.Name)
		}
	}
	kind, err := kindOf(spec.URL)
	if err != nil {
		return blame(err, setting)
	}
	to, err := kind.open(spec, c)
	if err != nil {
		return blame(err, setting)
	}
	s.shards = append(s.shards, sink.ShardStore{Name: spec.Name, Store: to})
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
	at := strings.TrimRight(cmp.Or(spec.URL, c.Influx.Host), "/")
	if u, err := url.Parse(at); err == nil {
		u.Host = strings.ToLower(u.Host)
		port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
		u.Host = strings.TrimSuffix(u.Host, cmp.Or(port, "/"))
		at = u.String()
	}
	return bucketAddress{url: at, org: cmp.Or(spec.Org, c.Influx.Org), name: cmp.Or(spec.Bucket, c.Influx.Bucket)}
}

// addRoutes makes a shard for each bucket that a route names, over which no
// pings are spread. If the bucket belongs to a shard already, the route leads
// to that shard.
func (s *layout) addRoutes(c *Config, specs []ShardConfig) error {
	for _, r := range c.Routes {
		spec := specs[slices.IndexFunc(specs, func(s ShardConfig) bool { return s.Name == r.Shard })]
		if r.Bucket != "" {
			spec.Name, spec.Bucket = bucketName(r), r.Bucket
		}
		at := bucketOf(c, spec)
		to := slices.IndexFunc(s.buckets, func(b bucketAddress) bool { return b.same(&at) })
		if to < 0 {
			to = len(s.shards)
			if err := s.addAs(c, spec, fmt.Sprintf("--route %s=%s/%s", r.Kind, r.Shard, r.Bucket)); err != nil {
				return err
			}
		}
		s.routes[r.Kind] = to
	}
	return nil
}

// bucketName names a bucket of a shard as a shard of its own: using only
// letters that names may have.
func bucketName(r Route) string {
	bucket := strings.Map(func(c rune) rune {
		if pingline.CheckName("bucket", string(c)) != nil {
			return '_'
		}
		return c
	}, r.Bucket)
	name := r.Shard + ":" + bucket
	return name[:min(len(name), pingline.MaxName)]
}

// withPings returns which shards pings may be in.
func (s *layout) withPings() (list []int) {
	for i := range s.over.Len() {
		list = append(list, i)
	}
	for _, kind := range [...]string{"location", "event"} {
		if i, ok := s.routes[kind]; ok && !slices.Contains(list, i) {
			list = append(list, i)
		}
	}
	return list
}

// read returns the shards that pings may be in, as far as they can be read.
func (s *layout) read() (list []query.ShardReader) {
	for _, i := range s.withPings() {
		if r, ok := s.shards[i].Store.(store.Reader); ok {
			list = append(list, query.ShardReader{Name: s.shards[i].Name, Reader: r})
		}
	}
	return list
}

// withPoints returns the stores that can be asked for points that are no pings.
func (s *layout) withPoints() (list []store.PointReader) {
	for i := range s.shards {
		if r, ok := s.shards[i].Store.(store.PointReader); ok {
			list = append(list, r)
		}
	}
	return list
}

func hotCells(c *Config) (map[uint64]int, error) {
	path := c.HotCells
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--hot-cells: %w", err)
	}
	defer file.Close()
	splits, err := partition.ParseHotCells(file, c.CellRes)
	if err != nil {
		return nil, fmt.Errorf("--hot-cells: %s: %w", path, err)
	}
	return splits, nil
}
