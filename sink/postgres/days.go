package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// dayset is the days that have a partition, by table.
type dayset struct {
	mu   sync.Mutex
	made map[tableDay]bool
}

type tableDay struct {
	of  *rowTable
	day int32
}

func (s *dayset) has(at tableDay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made[at]
}

func (s *dayset) add(at tableDay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == nil {
		s.made = make(map[tableDay]bool)
	}
	s.made[at] = true
}

func (s *dayset) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made = nil
}

// partition returns the name of a day's partition.
func (t *rowTable) partition(day int32) string {
	return t.name + time.Unix(int64(day)*86400, 0).UTC().Format("_2006_01_02")
}

// bounds returns the beginning of a day and of the next, as PostgreSQL reads them.
func bounds(day int32) (from, to string) {
	const form = "2006-01-02 15:04:05+00"
	at := time.Unix(int64(day)*86400, 0).UTC()
	return at.Format(form), at.AddDate(0, 0, 1).Format(form)
}

// makeDays makes the partitions of days that have none.
func (d *Database) makeDays(ctx context.Context, conn *pgx.Conn, l *tablesFound, days []tableDay) error {
	for _, at := range days {
		if d.cfg.CheckOnly || !l.parent[at.of].parted || d.days.has(at) {
			continue
		}
		err := locked(ctx, conn, func(tx pgx.Tx) error { return at.make(ctx, tx, l.parent[at.of].schema) })
		said := new(pgconn.PgError)
		// An operator's own partition has the day, of a month or the default.
		covered := errors.As(err, &said) && (said.Code == "42P17" || said.Code == "23514")
		if err != nil && said.Code == "42P07" { // duplicate_table
			return &misfit{fmt.Sprintf("table %s is there and is no partition of %s", at.of.partition(at.day), at.of.name), "attach it to " + at.of.name + ", or drop it"}
		}
		if err != nil && !covered {
			return fmt.Errorf("make partition %s: %w", at.of.partition(at.day), err)
		}
		d.days.add(at)
	}
	return nil
}

// make makes the partition of a day. To attach a table, unlike to create it as a partition,
// keeps neither writes nor reads of other days waiting.
func (at tableDay) make(ctx context.Context, tx pgx.Tx, schema string) error {
	name := pgx.Identifier{schema, at.of.partition(at.day)}.Sanitize()
	parent := pgx.Identifier{schema, at.of.name}.Sanitize()
	attached := false
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = to_regclass($2))`, name, parent).Scan(&attached)
	if err != nil || attached {
		return err
	}
	from, to := bounds(at.day)
	_, err = tx.Exec(ctx, fmt.Sprintf("CREATE TABLE %[1]s (LIKE %[2]s INCLUDING ALL);\nALTER TABLE %[2]s ATTACH PARTITION %[1]s FOR VALUES FROM ('%[3]s') TO ('%[4]s')",
		name, parent, from, to), pgx.QueryExecModeSimpleProtocol)
	return err
}

// Times of the making and dropping of partitions.
const (
	ahead      = 2 // days that are made before they begin
	everyVisit = 10 * time.Minute
	againAfter = 10 * time.Second
	visitTime  = 5 * time.Minute // to let go of a day waits for all that read it
)

// tend looks after the partitions until the database is closed.
func (d *Database) tend() {
	for {
		ctx, cancel := context.WithTimeout(d.work, visitTime)
		err := d.visit(ctx, time.Now())
		cancel()
		wait := everyVisit
		note := ""
		if err != nil {
			wait = againAfter
			note = noteOf(err)
		}
		if old := d.note.Swap(&note); note != "" && (old == nil || *old != note) && d.work.Err() == nil {
			d.cfg.Logger.Warn("PostgreSQL: the tables are not looked after", "database", d.where, "error", note)
		}
		select {
		case <-d.work.Done():
			return
		case <-time.After(wait):
		}
	}
}

// noteOf returns the sentence about an error that an operator must know of, or "": of a
// server in trouble, the writes that fail tell.
func noteOf(err error) string {
	if r := refusal(err); r.Advice != "" {
		return r.Error() + ": " + r.Advice
	}
	return ""
}

// visit makes the partitions of the days to come, and drops the days that are older than
// they are kept.
func (d *Database) visit(ctx context.Context, now time.Time) error {
	l, err := d.ready(ctx)
	if err != nil {
		return err
	}
	conn, err := d.writes.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	today := dayOf(now.UnixMilli())
	for _, t := range tables {
		for n := range int32(ahead + 1) {
			if err := d.makeDays(ctx, conn.Conn(), l, []tableDay{{t, today + n}}); err != nil {
				return err
			}
		}
	}
	if d.cfg.Keep == 0 || d.cfg.CheckOnly {
		return nil
	}
	for _, t := range tables {
		err := d.dropLeft(ctx, conn.Conn(), t, l.parent[t].schema, d.firstKept(now))
		if err == nil {
			err = d.dropDays(ctx, conn.Conn(), t, l.parent[t].schema, d.firstKept(now))
		}
		if err != nil {
			return fmt.Errorf("drop days of %s: %w", t.name, err)
		}
	}
	return nil
}

// firstKept returns the first day of which something may still be young enough.
func (d *Database) firstKept(now time.Time) int32 {
	return dayOf(now.Add(-d.cfg.Keep).UnixMilli())
}

// before reports whether name is that of a partition of ours whose day is before first.
func (t *rowTable) before(name string, first int32) bool {
	at, err := time.Parse("2006_01_02", strings.TrimPrefix(name, t.name+"_"))
	day := dayOf(at.UnixMilli())
	return err == nil && day < first && name == t.partition(day)
}

// dropDays drops the partitions of ours whose day is before first.
func (d *Database) dropDays(ctx context.Context, conn *pgx.Conn, t *rowTable, schema string, first int32) error {
	rows, err := conn.Query(ctx, `SELECT c.relname::text, i.inhdetachpending FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = to_regclass($1) ORDER BY 1`, pgx.Identifier{schema, t.name}.Sanitize())
	if err != nil {
		return err
	}
	type partition struct {
		name    string
		pending bool
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p partition, err error) {
		err = row.Scan(&p.name, &p.pending)
		return p, err
	})
	if err != nil {
		return err
	}
	for _, p := range list {
		if !t.before(p.name, first) {
			continue
		}
		if err := drop(ctx, conn, pgx.Identifier{schema, t.name}.Sanitize(), pgx.Identifier{schema, p.name}.Sanitize(), p.pending); err != nil {
			return err
		}
		d.cfg.Logger.Info("PostgreSQL: a day is dropped, older than it is kept", "partition", p.name)
	}
	return nil
}

// goes is the comment of a partition that is about to be dropped. One that is detached and has it
// was left over by a crash; one without it is an operator's, who may want to keep it.
const goes = "pingline: older than it is kept, about to be dropped"

// drop detaches a partition, which keeps no write and no read waiting, and drops it. A
// parent with a default partition cannot be left so: then the drop waits for a lock of it,
// for a moment only.
func drop(ctx context.Context, conn *pgx.Conn, parent, name string, pending bool) error {
	how := "CONCURRENTLY"
	if pending {
		how = "FINALIZE" // a detach that was broken off
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("COMMENT ON TABLE %s IS '%s'", name, goes), pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, fmt.Sprintf("ALTER TABLE %s DETACH PARTITION %s %s", parent, name, how), pgx.QueryExecModeSimpleProtocol)
	said := new(pgconn.PgError)
	if err != nil && !(errors.As(err, &said) && said.Code == "55000") {
		return err
	}
	return dropTable(ctx, conn, name)
}

func dropTable(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, "BEGIN; SET LOCAL lock_timeout = '2s'; DROP TABLE "+name+"; COMMIT", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	}
	return err
}

// dropLeft drops the partitions before first that a crash left over, detached and not yet dropped.
func (d *Database) dropLeft(ctx context.Context, conn *pgx.Conn, t *rowTable, schema string, first int32) error {
	rows, err := conn.Query(ctx, `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind = 'r' AND NOT c.relispartition AND starts_with(c.relname, $2) AND obj_description(c.oid, 'pg_class') = $3 ORDER BY 1`,
		schema, t.name+"_", goes)
	if err != nil {
		return err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range list {
		if !t.before(name, first) {
			continue
		}
		if err := dropTable(ctx, conn, pgx.Identifier{schema, name}.Sanitize()); err != nil {
			return err
		}
		d.cfg.Logger.Info("PostgreSQL: a day is dropped, which was detached and left over", "partition", name)
	}
	return nil
}

// Retention returns how long rows are kept, at least, 0 for ever; whole days go at once. It
// does not tell where the days are an operator's and keep is not set.
func (d *Database) Retention(context.Context) (keep time.Duration, told bool) {
	return d.cfg.Keep, d.cfg.Keep > 0 || !d.cfg.CheckOnly
}

// Notes returns a sentence if the tables do not fit, or cannot be looked after.
func (d *Database) Notes() []string {
	if note := d.note.Load(); note != nil && *note != "" {
		return []string{*note}
	}
	return nil
}
