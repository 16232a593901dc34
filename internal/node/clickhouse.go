package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pingline/sink/cassandra"
	"pingline/sink/clickhouse"
	"pingline/sink/influx/unread"
	"pingline/sink/postgres"
	"pingline/sink/store"
)

// openClickHouse opens a shard of ClickHouse. Files of InfluxDB's settings are not its own.
func openClickHouse(s ShardConfig, c *Config) (store.Store, error) {
	if s.Bucket != "" { // of a route
		return nil, &keyError{key: "bucket", err: fmt.Errorf("%q: a ClickHouse has no buckets: name a shard whose url ends in the other database", s.Bucket)}
	}
	to, err := clickhouse.New(clickhouse.Config{
		URL:          s.URL,
		PasswordFile: s.TokenFile,
		Timeout:      c.Influx.Timeout,
		CreateSchema: c.CreateSchema,
		CAFile:       s.CAFile,
		CertFile:     s.CertFile,
		KeyFile:      s.KeyFile,
		Logger:       c.Logger,
	})
	if at := new(clickhouse.FieldFault); errors.As(err, &at) {
		if key, known := map[string]string{"URL": "url", "CertFile": "cert-file", "KeyFile": "key-file"}[at.Field]; known {
			return nil, &keyError{key: key, err: at.Err}
		}
	}
	return to, err
}

// schemas are the kinds of store that have tables, with the statements that make them on a
// server of a version, "" for the newest.
var schemas = map[string]func(version string) []string{
	"postgres":   func(string) []string { return postgres.Schema(int32(time.Now().Unix() / 86400)) },
	"cassandra":  func(string) []string { return cassandra.Schema() },
	"questdb":    func(string) []string { return unread.Schema() },
	"clickhouse": func(version string) []string { return clickhouse.Schema(clickhouse.OptionsOf(version)) },
}

// Schema returns the statements that make the tables of a kind of store on a server of a
// version, "" for the newest. An error names the kinds that there are.
func Schema(kind, version string) ([]string, error) {
	statements, ok := schemas[kind]
	if !ok {
		return nil, fmt.Errorf("%q is no kind of store that has tables: %s", kind, strings.Join(slices.Sorted(maps.Keys(schemas)), ", "))
	}
	return statements(version), nil
}
