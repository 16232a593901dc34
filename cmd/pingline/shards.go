package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/sink"
)

// spreadConfig says where points go.
type spreadConfig struct {
	Shard         []shardSpec   `sep:" " placeholder:"name=…,url=…" help:"One of several InfluxDBs: name, url, org, bucket, token-file, weight (1), kind (influx); what is not said is as for --influx-…. Repeated; replaces --influx-host."`
	PartitionBy   partition.By  `default:"cell+rider" help:"cell+rider, rider (a track in one shard), or cell (a region in one shard)."`
	HotCellRate   float64       `default:"1000" help:"Pings/s of one part of a cell at which the cell is split by rider."`
	HotCells      string        `placeholder:"FILE" help:"Cells to split beforehand, one a line: CELL [PARTS]."`
	ShardHandover time.Duration `default:"10m" help:"How long a shard is down before the others take what is its; 0: never."`
	MovedShard    []string      `sep:" " placeholder:"NAME" help:"A shard that was removed and whose points are elsewhere now, or not wanted: tracks are complete without it. Repeated."`
	Route         []routeSpec   `sep:" " placeholder:"KIND=SHARD[/BUCKET]" help:"Where location, event, activity or self go, instead of being spread or to the first shard. Repeated."`
}

// check returns an error that names the flag and the limit.
func (c *spreadConfig) check() error {
	if !(c.HotCellRate > 0) {
		return fmt.Errorf("--hot-cell-rate: %v is not above 0", c.HotCellRate)
	}
	if c.ShardHandover < 0 {
		return fmt.Errorf("--shard-handover: %v is below 0", c.ShardHandover)
	}
	names, kinds := map[string]bool{"a": len(c.Shard) == 0}, map[string]bool{}
	for _, s := range c.Shard {
		if names[s.Name] {
			return fmt.Errorf("--shard: name %q is there twice", s.Name)
		}
		names[s.Name] = true
	}
	for _, r := range c.Route {
		if !names[r.Shard] {
			return fmt.Errorf("--route: no shard is named %q", r.Shard)
		}
		if kinds[r.Kind] {
			return fmt.Errorf("--route: %s has two", r.Kind)
		}
		kinds[r.Kind] = true
	}
	return nil
}

// shardSpec is one --shard.
type shardSpec struct {
	Name, URL, Org, Bucket, TokenFile string
	Weight                            float64
}

// UnmarshalText reads name=…,url=…,….
func (s *shardSpec) UnmarshalText(text []byte) error {
	*s = shardSpec{Weight: 1}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(string(text), ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return fmt.Errorf("%q is not of the form key=value", part)
		}
		if seen[key] {
			return fmt.Errorf("%s is there twice", key)
		}
		seen[key] = true
		if err := s.set(key, value); err != nil {
			return err
		}
	}
	switch {
	case s.Name == "":
		return errors.New("a shard needs a name")
	case s.URL == "":
		return fmt.Errorf("shard %s needs a url", s.Name)
	}
	return nil
}

func (s *shardSpec) set(key, value string) (err error) {
	switch key {
	case "name":
		s.Name, err = value, pingline.CheckName(key, value)
	case "url":
		s.URL = value
	case "org":
		s.Org = value
	case "bucket":
		s.Bucket = value
	case "token-file":
		s.TokenFile = value
	case "weight":
		if s.Weight, err = strconv.ParseFloat(value, 64); err != nil || !(s.Weight > 0 && s.Weight <= 1e6) {
			err = fmt.Errorf("weight: %q is not in (0, 1000000]", value)
		}
	case "kind":
		if value != "influx" {
			err = fmt.Errorf("kind: %q is not influx", value)
		}
	default:
		err = fmt.Errorf("unknown key %q: one of name, url, org, bucket, token-file, weight, kind", key)
	}
	return err
}

// routeSpec is one --route.
type routeSpec struct{ Kind, Shard, Bucket string }

var routeKinds = []string{"location", "event", "activity", "self"}

// UnmarshalText reads KIND=SHARD[/BUCKET].
func (r *routeSpec) UnmarshalText(text []byte) error {
	kind, to, ok := strings.Cut(string(text), "=")
	if !ok || to == "" || !slices.Contains(routeKinds, kind) {
		return fmt.Errorf("%q is not of the form KIND=SHARD[/BUCKET], KIND one of %s", text, strings.Join(routeKinds, ", "))
	}
	r.Kind = kind
	r.Shard, r.Bucket, _ = strings.Cut(to, "/")
	return nil
}

// layout is where points go: the shards, and how keys are spread over the first
// of them.
type layout struct {
	shards []sink.Shard
	over   *partition.Shards
	routes map[string]int
	keys   *partition.Keys

	buckets []bucket // of shards
}

// bucket is where a shard's points are, and the setting that names it.
type bucket struct{ url, org, name, setting string }

func (b *bucket) same(o *bucket) bool { return b.url == o.url && b.org == o.org && b.name == o.name }

// openLayout makes of the flags what the parts need.
func openLayout(c *serveConfig) (*layout, error) {
	s, err := newLayout(c)
	if err != nil {
		return nil, err
	}
	splits, err := hotCells(c)
	if err != nil {
		return nil, err
	}
	s.keys, err = partition.NewKeys(partition.KeyConfig{
		Shards: s.over, By: c.Spread.PartitionBy, HotRate: c.Spread.HotCellRate, Splits: splits,
	})
	return s, err
}

// newLayout is openLayout without what needs files.
func newLayout(c *serveConfig) (*layout, error) {
	specs := c.Spread.Shard
	if len(specs) == 0 {
		specs = []shardSpec{{Name: "a", URL: c.Influx.Host, Weight: 1}}
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
func (s *layout) add(c *serveConfig, spec shardSpec) error {
	return s.addAs(c, spec, "--shard name="+spec.Name)
}

// addAs takes a shard that a setting names; what it does not say is as for
// --influx-…. Two that are one bucket, or have one name, are refused.
func (s *layout) addAs(c *serveConfig, spec shardSpec, setting string) error {
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
	cfg := sink.InfluxConfig{
		URL:       spec.URL,
		Token:     c.Influx.Token,
		TokenFile: cmp.Or(spec.TokenFile, c.Influx.TokenFile),
		Org:       cmp.Or(spec.Org, c.Influx.Org),
		Bucket:    cmp.Or(spec.Bucket, c.Influx.Bucket),
		Timeout:   c.Influx.Timeout,
	}
	influx, err := sink.NewInflux(cfg)
	if err != nil {
		return fmt.Errorf("shard %s: %w", spec.Name, err)
	}
	s.shards = append(s.shards, sink.Shard{Name: spec.Name, Influx: influx})
	s.buckets = append(s.buckets, at)
	return nil
}

// bucketOf says where a shard's points are, however its URL is written.
func bucketOf(c *serveConfig, spec shardSpec) bucket {
	at := strings.TrimRight(spec.URL, "/")
	if u, err := url.Parse(at); err == nil {
		u.Host = strings.ToLower(u.Host)
		port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]
		u.Host = strings.TrimSuffix(u.Host, cmp.Or(port, "/"))
		at = u.String()
	}
	return bucket{url: at, org: cmp.Or(spec.Org, c.Influx.Org), name: cmp.Or(spec.Bucket, c.Influx.Bucket)}
}

// addRoutes makes another bucket of a shard a shard of its own, over which
// nothing is spread. A bucket that is known already is that shard.
func (s *layout) addRoutes(c *serveConfig, specs []shardSpec) error {
	for _, r := range c.Spread.Route {
		spec := specs[slices.IndexFunc(specs, func(s shardSpec) bool { return s.Name == r.Shard })]
		if r.Bucket != "" {
			spec.Name, spec.Bucket = bucketName(r), r.Bucket
		}
		at := bucketOf(c, spec)
		to := slices.IndexFunc(s.buckets, func(b bucket) bool { return b.same(&at) })
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

// bucketName names a bucket of a shard as a shard of its own: by letters that
// names may have.
func bucketName(r routeSpec) string {
	bucket := strings.Map(func(c rune) rune {
		if pingline.CheckName("bucket", string(c)) != nil {
			return '_'
		}
		return c
	}, r.Bucket)
	name := r.Shard + ":" + bucket
	return name[:min(len(name), pingline.MaxName)]
}

// read returns the shards that pings may be in.
func (s *layout) read() []sink.Shard {
	list := slices.Clone(s.shards[:s.over.Len()])
	for _, kind := range [...]string{"location", "event"} {
		if i, ok := s.routes[kind]; ok && i >= s.over.Len() {
			list = append(list, s.shards[i])
		}
	}
	return list
}

func hotCells(c *serveConfig) (map[uint64]int, error) {
	path := c.Spread.HotCells
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
