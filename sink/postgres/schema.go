package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"pingline"
	"pingline/sink/store"
)

// The tables.
const (
	Pings  = "location"
	Points = "point"
)

// tableColumn is a column of a table, and its type as format_type names it.
type tableColumn struct{ name, kind string }

// rowTable describes a table of ours.
type rowTable struct {
	name    string
	columns []tableColumn
	key     []string // columns that identify a row
	notNull []string // further columns that must be known
	time    string   // column by which the table is parted in days
}

var pingTable = func() rowTable {
	t := rowTable{
		name: Pings, time: "ts", key: []string{"rider", "ts", "nano", "device", "cell", "late", "corrected"}, notNull: []string{"lat", "lon", "skipped"},
		columns: []tableColumn{
			{"rider", text}, {"ts", stamp}, {"nano", "integer"}, {"device", text}, {"cell", "bigint"},
			{"late", "boolean"}, {"corrected", "boolean"}, {"lat", "double precision"}, {"lon", "double precision"},
		},
	}
	for i := range pingline.Numbers {
		t.columns = append(t.columns, tableColumn{pingline.Numbers[i].Key, "real"})
	}
	t.columns = append(t.columns, tableColumn{"event", text}, tableColumn{"trip", text}, tableColumn{"skipped", "bigint"}, attrsColumn)
	return t
}()

// attrsColumn is the last column of pings. A table that was made before it is used without it.
var attrsColumn = tableColumn{pingline.KeyAttrs, "jsonb"}

var pointTable = rowTable{
	name: Points, time: "at", key: []string{"name", "at", "tags"}, notNull: []string{"fields"},
	columns: []tableColumn{{"name", text}, {"at", stamp}, {"tags", "jsonb"}, {"fields", "jsonb"}},
}

var tables = []*rowTable{&pingTable, &pointTable}

const (
	text  = "text"
	stamp = "timestamp with time zone"
)

// namesOf returns names of columns, separated by commas.
func namesOf(columns []tableColumn) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return strings.Join(list, ", ")
}

// define returns the definitions of t's columns. Texts are compared byte by byte, as
// Pingline compares ids.
func (t *rowTable) define() string {
	var b strings.Builder
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "  %-10s%s", c.name, strings.ReplaceAll(c.kind, stamp, "timestamptz"))
		if c.kind == text {
			b.WriteString(` COLLATE "C"`)
		}
		if slices.Contains(t.key, c.name) || slices.Contains(t.notNull, c.name) {
			b.WriteString(" NOT NULL")
		}
	}
	return b.String()
}

// create returns the statements that make t. postgis is the schema of that extension,
// or "": then there is no column of its type.
func (t *rowTable) create(postgis string) []string {
	further := ""
	if postgis != "" && t == &pingTable {
		in := pgx.Identifier{postgis}.Sanitize()
		further = fmt.Sprintf("\n  geom      %[1]s.geometry(Point, 4326) GENERATED ALWAYS AS (%[1]s.ST_SetSRID(%[1]s.ST_MakePoint(lon, lat), 4326)) STORED,", in)
	}
	return []string{
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n%s,%s\n  PRIMARY KEY (%s)\n) PARTITION BY RANGE (%s)",
			t.name, t.define(), further, strings.Join(t.key, ", "), t.time),
		fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s_%s ON %[1]s USING brin (%[2]s)", t.name, t.time),
	}
}

// Schema returns the statements that make the tables, and as an example the partitions of a
// day, in days since 1970.
func Schema(day int32) (list []string) {
	for _, t := range tables {
		list = append(list, t.create("")...)
	}
	note := "-- A partition for each day, UTC. Pingline makes them, and drops them by keep=... of its URL;\n" +
		"-- with --create-schema=false both are yours.\n"
	for _, t := range tables {
		from, to := bounds(day)
		list = append(list, fmt.Sprintf("%sCREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM ('%s') TO ('%s')", note, t.partition(day), t.name, from, to))
		note = ""
	}
	return list
}

// tablesFound is how the tables were found.
type tablesFound struct {
	version int
	postgis string // schema of the extension; "" without
	parent  map[*rowTable]parent
	bare    string // why pings are kept without attributes; "" if with them
}

// columns returns the columns of t that are written and read.
func (l *tablesFound) columns(t *rowTable) []tableColumn {
	if t == &pingTable && l.bare != "" {
		return t.columns[:len(t.columns)-1]
	}
	return t.columns
}

// parent is a table as it was found.
type parent struct {
	schema string
	parted bool // by days
}

// misfit is the error that the tables are not as they must be; a sentence.
type misfit struct {
	said, advice string
}

func (e *misfit) Error() string { return e.said }

const adviceSchema = `compare it with the output of "pingline schema postgres"`

// ready returns the layout of the tables. If they are not known to fit, it looks at them,
// and makes them if they are missing.
func (d *Database) ready(ctx context.Context) (*tablesFound, error) {
	if l := d.schema.Load(); l != nil {
		return l, nil
	}
	select {
	case d.making <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-d.making }()
	if l := d.schema.Load(); l != nil {
		return l, nil
	}
	conn, err := d.writes.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	l, missing, err := inspect(ctx, conn.Conn())
	if err == nil {
		err = d.usable(l, missing)
	}
	if err == nil && len(missing) > 0 {
		if err = makeTables(ctx, conn.Conn(), missing, l.postgis); err == nil {
			l, missing, err = inspect(ctx, conn.Conn())
		}
		if err == nil && len(missing) > 0 {
			err = &misfit{fmt.Sprintf("table %s is made, and not found", missing[0].name), "let the search_path of the role name a schema"}
		}
	}
	if err != nil {
		return nil, err
	}
	d.days.forget()
	d.schema.Store(l)
	return l, nil
}

// usable returns a *misfit if tables were found with which cfg cannot be followed.
func (d *Database) usable(l *tablesFound, missing []*rowTable) error {
	if d.cfg.CheckOnly && len(missing) > 0 {
		return &misfit{"there is no table " + missing[0].name, `make it by the output of "pingline schema postgres", or let Pingline make it`}
	}
	for t, p := range l.parent {
		if d.cfg.Keep > 0 && !d.cfg.CheckOnly && !p.parted {
			return t.misfit("is not parted by days, so days cannot be dropped; keep is %v", d.cfg.Keep)
		}
	}
	return nil
}

// lockID is the key of the advisory lock under which tables and partitions are made and
// dropped: the first bytes of "pingline".
const lockID = 0x70696e67

// locked runs do in a transaction in which no other Pingline makes or drops anything.
func locked(ctx context.Context, conn *pgx.Conn, do func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(lockID)); err != nil {
			return err
		}
		return do(tx)
	})
}

func makeTables(ctx context.Context, conn *pgx.Conn, missing []*rowTable, postgis string) error {
	return locked(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range missing {
			if _, err := tx.Exec(ctx, strings.Join(t.create(postgis), ";\n"), pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("make table %s: %w", t.name, err)
			}
		}
		return nil
	})
}

// oldest is the first version with all that we ask of it: DETACH PARTITION CONCURRENTLY.
const oldest = 140_000

// inspect looks at the database. It returns a *misfit if something is there that cannot be
// used.
func inspect(ctx context.Context, conn *pgx.Conn) (l *tablesFound, missing []*rowTable, err error) {
	l = &tablesFound{parent: make(map[*rowTable]parent)}
	var encoding string
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'),
		coalesce((SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'postgis'), '')`).
		Scan(&l.version, &encoding, &l.postgis)
	switch {
	case err != nil:
		return nil, nil, err
	case l.version < oldest:
		return nil, nil, &misfit{fmt.Sprintf("the server is PostgreSQL %d", l.version/10_000), "take PostgreSQL 14 or later"}
	case encoding != "UTF8":
		return nil, nil, &misfit{fmt.Sprintf("the database's encoding is %s", encoding), "create it with ENCODING 'UTF8'"}
	}
	for _, t := range tables {
		found, err := t.inspect(ctx, conn, l)
		switch {
		case err != nil:
			return nil, nil, err
		case found == nil:
			missing = append(missing, t)
		default:
			l.parent[t] = *found
		}
	}
	return l, missing, nil
}

// inspect returns how t was found, nil if it is missing, or a *misfit.
func (t *rowTable) inspect(ctx context.Context, conn *pgx.Conn, l *tablesFound) (*parent, error) {
	var (
		p     parent
		kind  string
		parts string
		ours  bool
	)
	err := conn.QueryRow(ctx, `SELECT n.nspname::text, c.relkind::text, coalesce(pg_get_partkeydef(c.oid), ''), EXISTS (
			SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND
			(SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C") FROM unnest(i.indkey[0:i.indnkeyatts-1]) k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k) = $2::text[])
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`, t.name, slices.Sorted(slices.Values(t.key))).
		Scan(&p.schema, &kind, &parts, &ours)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.parted = parts == "RANGE ("+t.time+")"
	if kind != "r" && kind != "p" {
		return nil, t.misfit("is no table that rows can be put into")
	}
	if err := t.compare(ctx, conn, l); err != nil {
		return nil, err
	}
	if !ours {
		return nil, t.misfit("has no unique index of %s, by which a row is known again", strings.Join(t.key, ", "))
	}
	return &p, nil
}

func (t *rowTable) misfit(format string, args ...any) *misfit {
	return &misfit{"table " + t.name + " " + fmt.Sprintf(format, args...), adviceSchema}
}

// compare notes in l a column that pings can do without, and returns a *misfit if a column is missing, of another type, or must be known and
// is none of ours.
func (t *rowTable) compare(ctx context.Context, conn *pgx.Conn, l *tablesFound) error {
	rows, err := conn.Query(ctx, `SELECT attname::text, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = '', attgenerated <> '', attnotnull
		FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, t.name)
	if err != nil {
		return err
	}
	type found struct {
		tableColumn
		must, made, known bool // a value must be given; a value is computed; NULL is none
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.name, &f.kind, &f.must, &f.made, &f.known)
		return f, err
	})
	if err != nil {
		return err
	}
	for _, c := range t.columns {
		i := slices.IndexFunc(list, func(f found) bool { return f.name == c.name })
		switch {
		case c == attrsColumn && i < 0:
			l.bare = fmt.Sprintf("table %[1]s has no column %[2]s: ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; then start Pingline again", t.name, c.name, c.kind)
		case c == attrsColumn && (list[i].kind != c.kind || list[i].made || list[i].known):
			l.bare = fmt.Sprintf("column %[2]s of table %[1]s has another use: ALTER TABLE %[1]s RENAME COLUMN %[2]s TO another; ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; then start Pingline again", t.name, c.name, c.kind)
		case c == attrsColumn:
		case i < 0:
			return t.misfit("has no column %s of type %s", c.name, c.kind)
		case list[i].kind != c.kind:
			return t.misfit("has column %s of type %.64s and not %s", c.name, list[i].kind, c.kind)
		case list[i].made:
			return t.misfit("makes column %s itself", c.name)
		}
	}
	for _, f := range list {
		if f.must && !slices.ContainsFunc(l.columns(t), func(c tableColumn) bool { return c.name == f.name }) {
			return t.misfit("has a further column %.64s that must be known", f.name)
		}
	}
	return nil
}

// refusal is that of a write into tables that are not as they must be.
func (e *misfit) refusal() *store.Refusal {
	return &store.Refusal{Kind: store.Configure, Reason: store.Missing, Advice: e.advice, Err: e}
}
