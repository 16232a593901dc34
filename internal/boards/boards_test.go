package boards

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pingline/dashboards/grafana"
	"pingline/internal/command"
	"pingline/internal/node"
	"pingline/sink/sets"
)

// Each shard has a data source of its own, by which its variable on the boards knows it;
// no token is written.
func TestFilesForShards(t *testing.T) {
	dir := t.TempDir()
	c := &Command{Out: dir}
	c.Stores.Influx = command.InfluxFlags{Host: "http://unused:8086", Bucket: "pings", Token: "secret"}
	for _, text := range []string{"name=a,url=http://one:8086", "name=b.2,url=http://two:8086,bucket=other/raw"} {
		var s node.ShardConfig
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		c.Stores.Spread.Shard = append(c.Stores.Spread.Shard, s)
	}
	cfg := node.DefaultConfig()
	c.Stores.Influx.Timeout, c.Stores.Spread.PartitionBy, c.Stores.Spread.HotCellRate, c.Stores.Spread.ShardHandover = cfg.Influx.Timeout, cfg.PartitionBy, cfg.HotCellRate, cfg.HandOver
	if err := c.Run(&command.Program{Context: t.Context(), Stdout: io.Discard}); err != nil {
		t.Fatal(err)
	}
	for path, wants := range map[string][]string{
		"provisioning/datasources/pingline.yaml": {"Pingline a", "http://one:8086", "dbName: pings", "uid: pingline\n", "Pingline b.2", "http://two:8086", "dbName: other", "$INFLUX_TOKEN_B_2"},
		"boards/rider.json":                      {`"-- Mixed --"`, `"${shard2}"`, `/^Pingline b\\.2$/`},
		"provisioning/alerting/pingline.yaml":    {"datasourceUid: pingline\n"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not have %s", path, want)
			}
		}
		if strings.Contains(string(text), "secret") {
			t.Errorf("%s has the token", path)
		}
	}
	c.Out = filepath.Join(dir, "boards", "rider.json")
	if err := c.Run(&command.Program{Context: t.Context(), Stdout: io.Discard}); err == nil {
		t.Error("a file is taken for a directory")
	}
}

// The bucket of each route is a source, once, and that of self is the first.
func TestSourcesOfRoutes(t *testing.T) {
	cfg := node.DefaultConfig()
	cfg.Influx.Bucket = "pings"
	for _, text := range []string{"name=a,url=http://one:8086", "name=b,url=http://two:8086"} {
		var s node.ShardConfig
		if err := s.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		cfg.Shards = append(cfg.Shards, s)
	}
	for _, text := range []string{"event=b", "activity=a/cells", "self=b/own/week", "location=b/pings"} {
		var r sets.Route
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		cfg.Routes = append(cfg.Routes, r)
	}
	want := []grafana.Source{
		{Shard: "b:own/week", URL: "http://two:8086", Database: "own"},
		{Shard: "a", URL: "http://one:8086", Database: "pings"},
		{Shard: "b", URL: "http://two:8086", Database: "pings"},
		{Shard: "a:cells", URL: "http://one:8086", Database: "cells"},
	}
	if got := sources(&cfg); !slices.Equal(got, want) {
		t.Errorf("sources %+v, want %+v", got, want)
	}
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
}
