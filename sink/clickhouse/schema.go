package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/store"
)

// Names of tables.
const (
	tablePings  = "pings"
	tablePoints = "points"
)

// Options say which statements a server knows.
type Options struct {
	Keep   time.Duration // age at which rows are deleted, whole seconds; 0: never
	Codecs bool          // it knows codecs of columns, and to delete by age: version 20.3 and later
	Sync   bool          // it can flush a new part to the disk before it answers
	Window bool          // tables without replicas can drop a block that they have seen
}

// OptionsOf returns which statements a version knows, such as 18.16 or 24.8; "" is the
// newest. Of a running server it is found out instead.
func OptionsOf(version string) Options {
	return Options{
		Codecs: version == "" || atLeast(version, 20, 3),
		Sync:   version == "" || atLeast(version, 21, 1),
		Window: version == "" || atLeast(version, 21, 4),
	}
}

// columnSpec is a column of a table.
type columnSpec struct{ name, kind, codec, text string }

// instant is the time of a row, for which DateTime64 would need a newer server.
const instant = "toDateTime(intDiv(ts, 1000), 'UTC')"

var pingTable = []columnSpec{
	{"rider", "String", "ZSTD", ""},
	{"device", "String", "ZSTD", ""},
	{"ts", "Int64", "DoubleDelta, ZSTD", "ms since 1970"},
	{"nano", "UInt32", "ZSTD", "ns within the ms, of a ping beside another of its ms"},
	{"cell", "UInt64", "ZSTD", "H3 index, 0 if none"},
	{"late", "UInt8", "ZSTD", "1: stored out of order"},
	{"corrected", "UInt8", "ZSTD", "1: the phone's clock was wrong"},
	{"lat_e7", "Int32", "Delta, ZSTD", "latitude, 1e-7 degree"},
	{"lon_e7", "Int32", "Delta, ZSTD", "longitude, 1e-7 degree"},
	{"event", "String", "ZSTD", ""},
	{"trip", "String", "ZSTD", ""},
	{"skipped", "UInt32", "ZSTD", "pings that were dropped since the last row of the track"},
	{"speed", "Nullable(Float32)", "ZSTD", "m/s"},
	{"heading", "Nullable(Float32)", "ZSTD", "degrees"},
	{"accuracy", "Nullable(Float32)", "ZSTD", "m"},
	{"altitude", "Nullable(Float32)", "ZSTD", "m"},
	{"battery", "Nullable(Float32)", "ZSTD", "0 to 1"},
	{columnAttrs, kindAttrs, "ZSTD", "attributes, an object of JSON; empty: none"},
	{"version", "UInt64", "Delta, ZSTD", "µs since 1970 of the write; the greatest stays"},
}

// The column of attributes. A table that was made before it is used without it.
const (
	columnAttrs = pingline.KeyAttrs
	kindAttrs   = "String"
)

var pointTable = []columnSpec{
	{"name", "String", "ZSTD", "such as cell_activity"},
	{"ts", "Int64", "DoubleDelta, ZSTD", "ms since 1970"},
	{"tag_keys", "Array(String)", "ZSTD", ""},
	{"tag_values", "Array(String)", "ZSTD", ""},
	{"int_keys", "Array(String)", "ZSTD", ""},
	{"ints", "Array(Int64)", "ZSTD", ""},
	{"float_keys", "Array(String)", "ZSTD", ""},
	{"floats", "Array(Float64)", "ZSTD", ""},
	{"text_keys", "Array(String)", "ZSTD", ""},
	{"texts", "Array(String)", "ZSTD", ""},
	{"bool_keys", "Array(String)", "ZSTD", ""},
	{"bools", "Array(UInt8)", "ZSTD", ""},
	{"version", "UInt64", "Delta, ZSTD", "µs since 1970 of the write; the greatest stays"},
}

// tableSpec is a table as it is made, and as it has to be.
type tableSpec struct {
	name    string
	columns []columnSpec
	aliases []string
	order   string // identity of a row
}

var tables = []tableSpec{
	{tablePings, pingTable, []string{
		"time DateTime ALIAS " + instant, "lat Float64 ALIAS lat_e7 / 1e7", "lon Float64 ALIAS lon_e7 / 1e7",
	}, "rider, device, ts, nano, cell, late, corrected"},
	{tablePoints, pointTable, []string{"time DateTime ALIAS " + instant}, "name, ts, tag_keys, tag_values"},
}

// activity is a view of roll-ups with a column for each of their values.
const activity = `CREATE VIEW IF NOT EXISTS cell_activity AS
SELECT
    time,
    reinterpretAsUInt64(reverse(unhex(concat(substring('0000000000000000', 1, 16 - length(tag_values[indexOf(tag_keys, 'cell')])), tag_values[indexOf(tag_keys, 'cell')])))) AS cell,
    toUInt8(tag_values[indexOf(tag_keys, 'res')]) AS res,
    tag_values[indexOf(tag_keys, 'window')] AS window,
    tag_values[indexOf(tag_keys, 'node')] AS node,
    ints[indexOf(int_keys, 'pings')] AS pings,
    ints[indexOf(int_keys, 'riders')] AS riders,
    ints[indexOf(int_keys, 'moving')] AS moving,
    ints[indexOf(int_keys, 'waiting')] AS waiting,
    floats[indexOf(float_keys, 'speed_mean')] AS speed_mean,
    floats[indexOf(float_keys, 'speed_max')] AS speed_max,
    ints[indexOf(int_keys, 'parts')] AS parts
FROM points FINAL
WHERE name = 'cell_activity'`

// Schema returns the statements that make the tables in the current database, in order
// and without semicolons. They make what is missing and change nothing.
func Schema(o Options) []string {
	var all []string
	for i := range tables {
		all = append(all, tables[i].create(o))
	}
	return append(all, activity)
}

func (t *tableSpec) create(o Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (\n", t.name)
	for _, c := range t.columns {
		fmt.Fprintf(&b, "    %s %s", c.name, c.kind)
		if o.Codecs {
			fmt.Fprintf(&b, " CODEC(%s)", c.codec)
		}
		b.WriteString(",")
		if c.text != "" {
			b.WriteString(" -- " + c.text)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "    %s\n)\nENGINE = ReplacingMergeTree(version)\nPARTITION BY toYYYYMM(%s)\nORDER BY (%s)", strings.Join(t.aliases, ",\n    "), instant, t.order)
	if o.Codecs && o.Keep > 0 {
		fmt.Fprintf(&b, "\nTTL %s + toIntervalSecond(%d)", instant, int64(o.Keep/time.Second))
	}
	set := []string{"index_granularity = 8192"}
	if o.Sync {
		set = append(set, "fsync_after_insert = 1", "fsync_part_directory = 1")
	}
	if o.Window {
		set = append(set, "non_replicated_deduplication_window = 1000")
	}
	b.WriteString("\nSETTINGS " + strings.Join(set, ", "))
	return b.String()
}

// facts are known of a server whose tables fit.
type facts struct {
	version  string
	settings map[string]bool // that it knows, of a query and of a table
	bare     string          // why pings are kept without attributes; "" if with them
}

// set sets a parameter to a value if the server knows it.
func (f *facts) set(params url.Values, name, value string) {
	if f.settings[name] {
		params.Set(name, value)
	}
}

// options returns the abilities of the server.
func (f *facts) options(keep time.Duration) Options {
	return Options{
		Keep: keep, Codecs: atLeast(f.version, 20, 3),
		Sync:   f.settings["fsync_after_insert"] && f.settings["fsync_part_directory"],
		Window: f.settings["non_replicated_deduplication_window"],
	}
}

// atLeast compares the beginning of a version, such as 18.16.1.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// errNoTables is wrapped by the error that a table is missing.
var errNoTables = errors.New("missing tables")

// facts returns what is known of the server. The first time it asks, makes what is
// missing if it may and is to, and checks that the tables fit.
func (t *Tables) facts(ctx context.Context, makes bool) (*facts, error) {
	if f := t.known.Load(); f != nil {
		return f, nil
	}
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f := t.known.Load(); f != nil {
		return f, nil
	}
	f, err := t.find(ctx)
	if err != nil {
		return nil, err
	}
	err = t.fit(ctx, f, makes && t.cfg.CreateSchema)
	said := new(saidError)
	if fits := err == nil; fits || makes && errors.As(err, &said) && said.kind == store.Configure {
		t.mu.Lock()
		t.misfit = said.text
		t.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	t.known.Store(f)
	return f, nil
}

// known settings, of queries and of tables.
const askFacts = `SELECT 'version' AS k, version() AS v
UNION ALL SELECT name, '' FROM system.settings WHERE name IN ('max_partitions_per_insert_block', 'wait_for_async_insert', 'insert_distributed_sync', 'insert_deduplication_token', 'max_bytes_before_external_sort', 'max_read_buffer_size', 'mutations_sync')
UNION ALL SELECT name, '' FROM system.merge_tree_settings WHERE name IN ('fsync_after_insert', 'fsync_part_directory', 'non_replicated_deduplication_window')
FORMAT TSV`

func (t *Tables) find(ctx context.Context) (*facts, error) {
	text, err := t.question(ctx, url.Values{}, askFacts)
	if err != nil {
		return nil, err
	}
	f := &facts{settings: make(map[string]bool)}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if name == "version" && ok {
			f.version = value
		}
		f.settings[name] = true
	}
	if f.version == "" {
		return nil, &saidError{kind: store.Configure, stop: store.Address, text: t.base.String() + " answers, but not as ClickHouse does", advice: "check the url"}
	}
	return f, nil
}

// fit makes what is missing, if it is to, and checks all tables.
func (t *Tables) fit(ctx context.Context, f *facts, makes bool) error {
	if t.keep > 0 && !f.options(0).Codecs {
		return misfit("ClickHouse %s deletes no rows by their age: leave keep out of the url", f.version)
	}
	have, err := t.describe(ctx)
	if err != nil {
		return err
	}
	missing := slices.ContainsFunc(tables, func(w tableSpec) bool { return have[w.name] == nil })
	if missing && makes {
		if err := t.create(ctx, f); err != nil {
			return err
		}
		if have, err = t.describe(ctx); err != nil {
			return err
		}
	}
	for i := range tables {
		if err := tables[i].compare(t.database, have[tables[i].name]); err != nil {
			return err
		}
	}
	f.bare = t.bare(have[tablePings])
	return nil
}

// bare returns why the table of pings has no attributes, or "".
func (t *Tables) bare(have *described) string {
	at := t.database + "." + tablePings
	if !plainName.MatchString(t.database) {
		at = identifier(t.database) + "." + tablePings
	}
	add := fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s; then start Pingline again", at, columnAttrs, kindAttrs)
	switch kind, there := have.types[columnAttrs]; {
	case !there:
		return fmt.Sprintf("table %s has no column %s: %s", at, columnAttrs, add)
	case kind != kindAttrs:
		return fmt.Sprintf("column %s of table %s is %s, not %s: drop it or give it another name, %s", columnAttrs, at, store.Clip(kind), kindAttrs, add)
	}
	return ""
}

var plainName = regexp.MustCompile(`^\w+$`)

func (t *Tables) create(ctx context.Context, f *facts) error {
	if _, err := t.question(ctx, url.Values{}, "CREATE DATABASE IF NOT EXISTS "+identifier(t.database)); err != nil {
		return fmt.Errorf("create database: %w", err)
	}
	for _, statement := range Schema(f.options(t.keep)) {
		if _, err := t.question(ctx, t.here(), statement); err != nil {
			return fmt.Errorf("create tables: %w", err)
		}
	}
	return nil
}

// described is a table as the server has it.
type described struct {
	engine, order, made string
	types               map[string]string // of its columns
}

// describe returns our tables that are there.
func (t *Tables) describe(ctx context.Context) (map[string]*described, error) {
	where := " WHERE database = " + literal(t.database) + " AND %s IN ('" + tablePings + "', '" + tablePoints + "') FORMAT TSV"
	text, err := t.question(ctx, url.Values{}, "SELECT name, engine, sorting_key, create_table_query FROM system.tables"+fmt.Sprintf(where, "name"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]*described)
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 4 {
			all[f[0]] = &described{engine: f[1], order: f[2], made: f[3], types: make(map[string]string)}
		}
	}
	text, err = t.question(ctx, url.Values{}, "SELECT table, name, type FROM system.columns"+fmt.Sprintf(where, "table"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) == 3 && all[f[0]] != nil {
			all[f[0]].types[f[1]] = f[2]
		}
	}
	return all, nil
}

// compare returns an error for an operator unless a table is as it has to be. More
// columns are fine if they have defaults.
func (t *tableSpec) compare(database string, have *described) error {
	at := database + "." + t.name
	switch {
	case have == nil:
		none := misfit("there is no table %s", at)
		none.err = errNoTables
		return none
	case !strings.HasSuffix(have.engine, "ReplacingMergeTree"):
		return misfit("table %s is a %s, not a ReplacingMergeTree: a row written twice would be two", at, have.engine)
	case strings.Join(strings.Fields(have.order), " ") != t.order:
		return misfit("table %s is ordered by (%s), not by (%s): rows that differ would replace each other", at, have.order, t.order)
	}
	for _, c := range t.columns {
		switch kind, there := have.types[c.name]; {
		case c.name == columnAttrs: // see bare
		case !there:
			return misfit("table %s has no column %s %s", at, c.name, c.kind)
		case kind != c.kind:
			return misfit("column %s of table %s is %s, not %s", c.name, at, store.Clip(kind), c.kind)
		}
	}
	return nil
}

func misfit(format string, args ...any) *saidError {
	return &saidError{kind: store.Configure, stop: store.Missing, text: fmt.Sprintf(format, args...), advice: adviceTables}
}
