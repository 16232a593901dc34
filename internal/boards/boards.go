// Package boards is pingline grafana: it writes Grafana's boards, alert rules and data
// sources for the stores that the flags name.
//
// It connects to nothing, and writes no token: Grafana takes those from its
// environment.
package boards

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pingline/dashboards/grafana"
	"pingline/internal/command"
	"pingline/internal/node"
)

// Command writes the files for Grafana.
type Command struct {
	Stores command.StoreFlags `embed:""`

	Out string `default:"grafana" placeholder:"DIR" help:"Directory for the files; made if missing."`
}

// Run writes the files and says which.
func (c *Command) Run(p *command.Program) error {
	cfg := node.DefaultConfig()
	c.Stores.Set(&cfg)
	if err := cfg.Check(); err != nil {
		return command.Unusable(err)
	}
	files, err := grafana.FilesFor(sources(&cfg))
	if err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(c.Out, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return command.Unusable(fmt.Errorf("--out: %w", err))
		}
		if err := os.WriteFile(path, f.Text, 0o644); err != nil {
			return command.Unusable(fmt.Errorf("--out: %w", err))
		}
		fmt.Fprintln(p.Stdout, path)
	}
	return nil
}

// sources returns the buckets of a configuration that has been checked. The first is the
// one with what nodes write about themselves, which the alert rules ask.
func sources(cfg *node.Config) (list []grafana.Source) {
	shards := cfg.Shards
	if len(shards) == 0 {
		shards = []node.ShardConfig{{}}
	}
	add := func(shard node.ShardConfig, bucket string) int {
		s := grafana.Source{
			Shard: shard.Name, URL: cmp.Or(shard.URL, cfg.Influx.Host), Database: database(cmp.Or(bucket, shard.Bucket, cfg.Influx.Bucket)),
		}
		if bucket != "" {
			s.Shard = strings.TrimPrefix(s.Shard+":"+bucket, ":")
		}
		at := slices.IndexFunc(list, func(o grafana.Source) bool { return o.URL == s.URL && o.Database == s.Database })
		if at < 0 {
			at = len(list)
			list = append(list, s)
		}
		return at
	}
	drawn := func(s node.ShardConfig) bool { return s.Set == "" && s.IsInflux() } // another set has the same again
	for _, s := range shards {
		if drawn(s) {
			add(s, "")
		}
	}
	for _, r := range cfg.Routes {
		for _, to := range r.To {
			named := slices.IndexFunc(shards, func(s node.ShardConfig) bool { return s.Name == to.Name })
			if named < 0 || !drawn(shards[named]) { // a set
				continue
			}
			at := add(shards[named], to.Bucket)
			if r.Kind == "self" {
				self := list[at]
				list = slices.Insert(slices.Delete(list, at, at+1), 0, self)
			}
		}
	}
	return list
}

// database is the part of a bucket's name that InfluxQL has for a database.
func database(bucket string) string {
	db, _, _ := strings.Cut(bucket, "/")
	return db
}
