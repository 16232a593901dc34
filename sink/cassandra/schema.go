package cassandra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
)

// Names of the tables.
const (
	Pings  = "pings"
	Points = "points"
	Spans  = "spans"  // days that have pings, and hours that have points of a name
	Latest = "latest" // newest position of each device, if the URL asks for it
)

// cqlTable is a table of ours.
type cqlTable struct {
	name      string
	columns   []cqlColumn // in the order of a row
	partition int         // so many of the first columns are the partition key
	keys      int         // so many are the primary key
	windowed  bool        // rows come in order of time, and go in order of time
	longer    time.Duration
	about     string
}

type cqlColumn struct{ name, kind string }

var pingTable = cqlTable{
	name: Pings, partition: partitionPing, keys: pingKeys, windowed: true, about: "a partition is a rider and a day, UTC",
	columns: slices.Concat([]cqlColumn{
		{"rider", "text"}, {"day", "date"}, {"ts", "timestamp"}, {"nano", "int"}, {"device", "text"}, {"cell", "bigint"},
		{"late", "boolean"}, {"corrected", "boolean"}, {"lat", "double"}, {"lon", "double"},
	}, numberColumns(), []cqlColumn{{"event", "text"}, {"trip", "text"}, {"skipped", "int"}, {"known", "smallint"}, attrsColumn}),
}

// attrsColumn has the attributes of pings as JSON. A table that was made before it is used
// without it.
var attrsColumn = cqlColumn{pingline.KeyAttrs, "text"}

var pointTable = cqlTable{
	name: Points, partition: partitionPoint, keys: pointKeys, windowed: true, about: "roll-ups, and what nodes say of themselves",
	columns: []cqlColumn{
		{"name", "text"}, {"hour", "timestamp"}, {"bucket", "int"}, {"at", "timestamp"}, {"tags", "frozen<map<text, text>>"},
		{"ints", "frozen<map<text, bigint>>"}, {"floats", "frozen<map<text, double>>"}, {"texts", "frozen<map<text, text>>"}, {"bools", "frozen<map<text, boolean>>"},
	},
}

var spanTable = cqlTable{
	name: Spans, partition: 1, keys: 2, longer: spansLonger, about: "days that have pings, and hours that have points",
	columns: []cqlColumn{{"name", "text"}, {"start", "timestamp"}},
}

// latestTable has the columns of pings that say where a device is; a row of it has the time
// of the ping as its time of writing.
var latestTable = cqlTable{
	name: Latest, partition: 1, keys: 2, about: "newest position of each device, written with the time of the ping",
	columns: slices.Concat([]cqlColumn{{"rider", "text"}, {"device", "text"}, {"ts", "timestamp"}, {"lat", "double"}, {"lon", "double"}},
		numberColumns(), []cqlColumn{{"event", "text"}, {"trip", "text"}}),
}

func numberColumns() (list []cqlColumn) {
	for i := range pingline.Numbers {
		list = append(list, cqlColumn{pingline.Numbers[i].Key, "float"})
	}
	return list
}

// tables returns the tables of a keyspace.
func (to *clusterURL) tables() []*cqlTable {
	list := []*cqlTable{&pingTable, &pointTable, &spanTable}
	if to.latest {
		list = append(list, &latestTable)
	}
	return list
}

func (t *cqlTable) names(columns []cqlColumn) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return strings.Join(list, ", ")
}

// windows is about how many windows of time a table's files are in.
const windows = 30

// create returns the statement that makes the table, in a keyspace if it is named.
func (t *cqlTable) create(keyspace string, keep time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s%s (\n", keyspace, t.name)
	for _, c := range t.columns {
		fmt.Fprintf(&b, "  %s %s,\n", c.name, c.kind)
	}
	fmt.Fprintf(&b, "  PRIMARY KEY ((%s), %s)\n) WITH comment = '%s'", t.names(t.columns[:t.partition]), t.names(t.columns[t.partition:t.keys]), t.about)
	if t.windowed {
		days := 7
		if keep > 0 {
			days = max(1, int(keep/windows/dayLong))
		}
		fmt.Fprintf(&b, "\n  AND compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', 'compaction_window_size': %d}", days)
	}
	if keep > 0 {
		fmt.Fprintf(&b, "\n  AND default_time_to_live = %d", int((keep+t.longer)/time.Second))
	}
	return b.String()
}

// insert returns the statement that writes the first n columns of a row.
func (t *cqlTable) insert(keyspace string, n int) string {
	return fmt.Sprintf("INSERT INTO %s.%s (%s) VALUES (?%s)", keyspace, t.name, t.names(t.columns[:n]), strings.Repeat(", ?", n-1))
}

// Schema returns the statements that make a keyspace called pingline, and its tables.
func Schema() []string {
	list := []string{"CREATE KEYSPACE IF NOT EXISTS pingline WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}", "USE pingline"}
	for _, t := range (&clusterURL{latest: true}).tables() {
		list = append(list, t.create("", 0))
	}
	return list
}

// tablesUnfit is a schema that does not fit, in a sentence, with advice.
type tablesUnfit struct{ found, advice string }

func (m *tablesUnfit) Error() string { return m.found }

const (
	adviceStatements = "run the statements that pingline schema cassandra prints, or let Pingline make the tables (--create-schema)"
	adviceAlter      = "drop the table, or alter it, or name another keyspace in the url: Pingline alters no table"
)

// found is the tables of a keyspace, as they are.
type schemaFound struct {
	keyspace bool
	columns  map[string]map[string]columnFound // by table and column
	keep     time.Duration                     // of pings
}

type columnFound struct {
	kind, role string
	position   int
}

// look reads which tables there are.
func (k *Keyspace) look(ctx context.Context, l *link) (*schemaFound, error) {
	f := &schemaFound{columns: make(map[string]map[string]columnFound)}
	var name string
	err := l.session.Query("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?", k.to.keyspace).Consistency(gocql.LocalOne).ScanContext(ctx, &name)
	if err == gocql.ErrNotFound {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	f.keyspace = true
	scan := l.session.Query("SELECT table_name, column_name, kind, position, type FROM system_schema.columns WHERE keyspace_name = ?", k.to.keyspace).Consistency(gocql.LocalOne).IterContext(ctx)
	var table string
	var c columnFound
	for scan.Scan(&table, &name, &c.role, &c.position, &c.kind) {
		if f.columns[table] == nil {
			f.columns[table] = make(map[string]columnFound)
		}
		f.columns[table][name] = c
	}
	if err := scan.Close(); err != nil {
		return nil, err
	}
	f.keep, _, err = k.keeps(ctx, l)
	return f, err
}

// keeps returns how long rows of pings are kept, and false if there is no such table.
func (k *Keyspace) keeps(ctx context.Context, l *link) (time.Duration, bool, error) {
	var seconds int
	err := l.session.Query("SELECT default_time_to_live FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?", k.to.keyspace, Pings).
		Consistency(gocql.LocalOne).ScanContext(ctx, &seconds)
	if err == gocql.ErrNotFound {
		return 0, false, nil
	}
	return time.Duration(seconds) * time.Second, err == nil, err
}

// missing returns the tables that are not there, or a *tablesUnfit if one that is does not fit.
// Columns of others are none of ours.
func (k *Keyspace) missing(f *schemaFound) (list []*cqlTable, err error) {
	for _, t := range k.to.tables() {
		has := f.columns[t.name]
		if has == nil {
			list = append(list, t)
			continue
		}
		keys := 0
		for i, c := range t.columns {
			got, ok := has[c.name]
			role, position := "regular", -1
			switch {
			case i < t.partition:
				role, position = "partition_key", i
			case i < t.keys:
				role, position = "clustering", i-t.partition
			}
			switch {
			case c == attrsColumn && (!ok || got.kind != c.kind): // see learnBare
			case !ok:
				return nil, &tablesUnfit{fmt.Sprintf("table %s.%s has no column %s %s", k.to.keyspace, t.name, c.name, c.kind), adviceAlter}
			case got.kind != c.kind:
				return nil, &tablesUnfit{fmt.Sprintf("column %s of table %s.%s is %s, and must be %s", c.name, k.to.keyspace, t.name, got.kind, c.kind), adviceAlter}
			case got.role != role || got.position != position:
				return nil, &tablesUnfit{fmt.Sprintf("the primary key of table %s.%s must be ((%s), %s)", k.to.keyspace, t.name, t.names(t.columns[:t.partition]), t.names(t.columns[t.partition:t.keys])), adviceAlter}
			}
		}
		for _, c := range has {
			if c.role == "partition_key" || c.role == "clustering" {
				keys++
			}
		}
		if keys > t.keys {
			return nil, &tablesUnfit{fmt.Sprintf("the primary key of table %s.%s must be ((%s), %s)", k.to.keyspace, t.name, t.names(t.columns[:t.partition]), t.names(t.columns[t.partition:t.keys])), adviceAlter}
		}
	}
	return list, nil
}

// learnBare notes whether pings have a column of attributes.
func (k *Keyspace) learnBare(f *schemaFound) {
	why, at := "", k.to.keyspace+"."+Pings
	if has := f.columns[Pings]; has != nil {
		switch got, ok := has[attrsColumn.name]; {
		case !ok:
			why = fmt.Sprintf("table %[1]s has no column %[2]s: ALTER TABLE %[1]s ADD %[2]s %[3]s; then start Pingline again", at, attrsColumn.name, attrsColumn.kind)
		case got.kind != attrsColumn.kind:
			why = fmt.Sprintf("column %s of table %s is %s, not %s: name another keyspace in the url", attrsColumn.name, at, got.kind, attrsColumn.kind)
		}
	}
	k.bare.Store(&why)
}

// DropsAttrs says why the table of pings has no attributes, as store.AttrsDropper wants it.
func (k *Keyspace) DropsAttrs() string {
	if why := k.bare.Load(); why != nil {
		return *why
	}
	return ""
}

// columnsOf returns how many columns of a table are written and read.
func (k *Keyspace) columnsOf(t *cqlTable) int {
	if t == &pingTable && k.DropsAttrs() != "" {
		return pingAttrs
	}
	return len(t.columns)
}

// ready finds out whether the tables are there and fit, once for a link. With make, those that
// are missing are made; made tells that some were.
func (k *Keyspace) ready(ctx context.Context, l *link, mayMake bool) (made bool, err error) {
	if l.fits.Load() {
		return false, nil
	}
	select {
	case k.making <- struct{}{}: // statements of two at once could make a table twice
		defer func() { <-k.making }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if l.fits.Load() {
		return false, nil
	}
	f, err := k.look(ctx, l)
	if err != nil {
		return false, err
	}
	missing, err := k.missing(f)
	if err != nil {
		return false, err
	}
	k.learnBare(f)
	if len(missing) > 0 {
		if !mayMake || !k.cfg.CreateSchema {
			return false, &tablesUnfit{k.absent(f, missing), adviceStatements}
		}
		if err := k.create(ctx, l, f, missing); err != nil {
			return false, err
		}
		k.spans.clear()
	} else if k.to.keep > 0 && f.keep != k.to.keep {
		k.note(fmt.Sprintf("Cassandra keeps rows of table %s.%s for %v, not for %v as keep= says: ALTER TABLE %[1]s.%[2]s WITH default_time_to_live = %[5]d, and the other tables alike",
			k.to.keyspace, Pings, f.keep, k.to.keep, int(k.to.keep/time.Second)))
		l.fits.Store(true)
		return false, nil
	}
	k.note("")
	l.fits.Store(true)
	return len(missing) > 0, nil
}

// absent says which table is missing.
func (k *Keyspace) absent(f *schemaFound, missing []*cqlTable) string {
	if !f.keyspace {
		return "there is no keyspace " + k.to.keyspace
	}
	return fmt.Sprintf("there is no table %s.%s", k.to.keyspace, missing[0].name)
}

// create makes the keyspace, if it is missing, and tables.
func (k *Keyspace) create(ctx context.Context, l *link, f *schemaFound, missing []*cqlTable) error {
	var list []string
	if !f.keyspace {
		statement, err := k.replication(ctx, l)
		if err != nil {
			return err
		}
		list = append(list, statement)
	}
	for _, t := range missing {
		list = append(list, t.create(k.to.keyspace+".", k.to.keep))
	}
	for _, statement := range list {
		if err := l.session.Query(statement).Idempotent(false).ExecContext(ctx); err != nil {
			return fmt.Errorf("make the schema: %w", err)
		}
	}
	return nil
}

// usualReplicas is how many copies of a row a new keyspace has, if there are as many nodes.
const usualReplicas = 3

// replication returns the statement that makes the keyspace, in the data centre of the URL or
// else of a node that answers.
func (k *Keyspace) replication(ctx context.Context, l *link) (string, error) {
	dc := k.to.datacenter
	if dc == "" {
		if err := l.session.Query("SELECT data_center FROM system.local").Consistency(gocql.LocalOne).ScanContext(ctx, &dc); err != nil {
			return "", err
		}
	}
	replicas := k.to.replicas
	if replicas == 0 {
		for _, h := range l.session.GetHosts() {
			if h.DataCenter() == dc {
				replicas++
			}
		}
		replicas = min(max(1, replicas), usualReplicas)
	}
	return fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %s WITH replication = {'class': 'NetworkTopologyStrategy', '%s': %d}", k.to.keyspace, strings.ReplaceAll(dc, "'", "''"), replicas), nil
}

// Retention returns how long Cassandra keeps rows of pings, as store.Retainer wants it. A row
// of a late ping is kept as long, from when it was written.
func (k *Keyspace) Retention(ctx context.Context) (keep time.Duration, told bool) {
	l, err := k.open(ctx)
	if err != nil {
		return 0, false
	}
	keep, told, err = k.keeps(ctx, l)
	return keep, told && err == nil
}
