package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pingline"
	"pingline/sink/store"
)

// A write that met rows that were there makes the next go by the temporary table at once:
// rows that come again come in many batches, and a COPY that fails was for nothing.
const stagedAfter = 64

// AppendRow appends e as a row: see rowHead.
func (d *Database) AppendRow(dst []byte, e *pingline.Entry) []byte { return appendRow(dst, e) }

// DropsAttrs says why the table of pings has no attributes, as store.AttrsDropper wants it.
func (d *Database) DropsAttrs() string {
	if l := d.schema.Load(); l != nil {
		return l.bare
	}
	return ""
}

// Write makes an attempt to write rows, as store.Store wants it.
func (d *Database) Write(ctx context.Context, rows store.Rows) error {
	err := d.write(ctx, rows)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("write to %s: %w", d.where, ctx.Err())
	}
	return fmt.Errorf("write to %s: %w", d.where, refusal(err))
}

// writeLoad is the rows of a write, as they were counted.
type writeLoad struct {
	bytes         []byte
	pings, points int
	index         []int // row of each ping
	days          []tableDay
}

func (d *Database) write(ctx context.Context, rows store.Rows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.start.Do(func() { d.done.Go(d.tend) })
	b, refused := d.sort(rows)
	if refused != nil {
		return refused
	}
	err := d.try(ctx, b)
	switch d.doubt(err) {
	case changed:
		err = d.try(ctx, b) // with tables and partitions that are looked for anew
	case perhaps:
		if _, unfit := d.ready(ctx); errors.As(unfit, new(*misfit)) {
			err = unfit
		}
	}
	said := new(pgconn.PgError)
	if errors.As(err, &said) && b.points == 0 {
		if i := lineOf(said.Where) - 1; i >= 0 && i < len(b.index) {
			return &located{err, b.index[i]}
		}
	}
	return err
}

// located is an error with the row that it is about.
type located struct {
	error
	row int
}

func (e *located) Unwrap() error { return e.error }

// lineOf returns the number of the row in the context of an error, 0 if it has none.
func lineOf(where string) (n int) {
	_, rest, ok := strings.Cut(where, "COPY ")
	if !ok {
		return 0
	}
	if _, rest, ok = strings.Cut(rest, ", line "); ok {
		_, _ = fmt.Sscanf(rest, "%d", &n)
	}
	return n
}

// sort counts rows, or refuses some that no PostgreSQL would take.
func (d *Database) sort(rows store.Rows) (*writeLoad, *store.Refusal) {
	b := &writeLoad{bytes: rows.Bytes, index: make([]int, 0, rows.N)}
	var suspects []int
	var reason string
	first := int32(-1 << 31)
	if d.cfg.Keep > 0 {
		first = d.firstKept(time.Now())
	}
	for i, left := 0, rows.Bytes; ; i++ {
		kind, on, _, rest, ok := cutRow(left)
		if !ok {
			break
		}
		left = rest
		of, why := &pingTable, ""
		switch {
		case kind == rowLarge:
			why = store.TooLarge
		case kind == rowLine || kind == rowOutside:
			why = store.Unparsable
		case on < first:
			why = store.Expired
		case kind == rowPing:
			b.pings++
			b.index = append(b.index, i)
		default:
			b.points++
			of = &pointTable
		}
		switch {
		case why == "":
			b.on(tableDay{of, on})
		case reason == "" || reason == why:
			reason = why
			suspects = append(suspects, i)
		}
	}
	if reason == "" {
		return b, nil
	}
	err := map[string]string{
		store.TooLarge:   "a point is too long to be a row",
		store.Unparsable: "a line of an earlier version, or a time that PostgreSQL does not know",
		store.Expired:    fmt.Sprintf("rows of days that are dropped: keep is %v", d.cfg.Keep),
	}[reason]
	r := &store.Refusal{Kind: store.BadRows, Reason: reason, Suspects: suspects, All: len(suspects) == rows.N, Err: errors.New(err)}
	if reason == store.Expired {
		r.Keeps = d.cfg.Keep
	}
	return nil, r
}

// on notes that a row is of a day.
func (b *writeLoad) on(at tableDay) {
	for i := len(b.days) - 1; i >= 0; i-- {
		if b.days[i] == at {
			return
		}
	}
	b.days = append(b.days, at)
}

// try makes one attempt.
func (d *Database) try(ctx context.Context, b *writeLoad) error {
	l, err := d.ready(ctx)
	if err != nil {
		return err
	}
	conn, err := d.writes.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := d.makeDays(ctx, conn.Conn(), l, b.days); err != nil {
		return err
	}
	if b.points > 0 || b.pings == 0 || d.staged.Load() > 0 {
		d.staged.Add(-1)
		return d.stage(ctx, conn.Conn(), l, b)
	}
	err = d.copyRows(ctx, conn.Conn(), l, &pingTable, b, "")
	said := new(pgconn.PgError)
	if errors.As(err, &said) && said.Code == "23505" { // unique_violation: a row is there, or comes twice
		d.staged.Store(stagedAfter)
		return d.stage(ctx, conn.Conn(), l, b)
	}
	return err
}

// copyRows copies the rows of a table into it, or into a temporary table for it.
func (d *Database) copyRows(ctx context.Context, conn *pgx.Conn, l *tablesFound, t *rowTable, b *writeLoad, into string) error {
	kind := byte(rowPing)
	if t == &pointTable {
		kind = rowPoint
	}
	columns := l.columns(t)
	names := namesOf(columns)
	name := t.name
	if into != "" {
		name, names = into, "n, "+names
	}
	_, err := conn.PgConn().CopyFrom(ctx, newTuples(b.bytes, kind, len(columns), into != "", len(columns) < len(t.columns)), "COPY "+name+" ("+names+") FROM STDIN BINARY")
	return err
}

// staging returns the name of the temporary table for t.
func (t *rowTable) staging() string { return "pingline_" + t.name }

// hasStaging is the key under which a connection notes that it has the temporary tables.
const hasStaging = "pingline staging"

// stage writes rows by way of temporary tables, in a transaction. Without rows, it finds
// out whether they would be taken.
func (d *Database) stage(ctx context.Context, conn *pgx.Conn, l *tablesFound, b *writeLoad) error {
	notes := conn.PgConn().CustomData()
	if notes[hasStaging] == nil {
		for _, t := range tables {
			_, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE IF NOT EXISTS "+t.staging()+" (n integer,\n"+t.define()+") ON COMMIT DELETE ROWS", pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				return fmt.Errorf("temporary table: %w", err)
			}
		}
		notes[hasStaging] = true
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, t := range tables {
			n := b.pings
			if t == &pointTable {
				n = b.points
			}
			if n == 0 && b.pings+b.points > 0 {
				continue
			}
			if n > 0 {
				if err := d.copyRows(ctx, conn, l, t, b, "pg_temp."+t.staging()); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, t.upsert(l.columns(t)), pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
		return nil
	})
}

// upsert moves rows from the temporary table to t. Of a row that comes several times it
// takes the last. Rows go in the order of the key, so that writes that meet the same rows
// wait for each other and do not deadlock.
func (t *rowTable) upsert(columns []tableColumn) string {
	names, key := namesOf(columns), strings.Join(t.key, ", ")
	var set []string
	for _, c := range columns {
		if !strings.Contains(" "+key+",", " "+c.name+",") {
			set = append(set, c.name+" = excluded."+c.name)
		}
	}
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT DISTINCT ON (%s) %[2]s FROM pg_temp.%[4]s ORDER BY %[3]s, n DESC ON CONFLICT (%[3]s) DO UPDATE SET %[5]s",
		t.name, names, key, t.staging(), strings.Join(set, ", "))
}

// Answers of doubt.
const (
	none    = iota
	changed // tables or partitions are not as they were found
	perhaps // a row is at fault, or a column of another type that was none before
)

// doubt says whether an error can be of tables or partitions that have changed since they
// were looked at. If so, they are looked at anew before the next write.
func (d *Database) doubt(err error) int {
	said := new(pgconn.PgError)
	if !errors.As(err, &said) {
		return none
	}
	as := none
	switch {
	case strings.HasPrefix(said.Code, "22"), said.Code == "23502":
		as = perhaps
	case said.Code == "23514" && said.ConstraintName == "": // no partition for the row
		as = changed
	case said.Code == "08P01", strings.HasPrefix(said.Code, "42") && said.Code != "42501", said.Code == "0A000":
		as = changed
	}
	if as != none {
		d.schema.Store(nil)
	}
	return as
}
