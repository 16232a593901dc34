package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pingline/sink/store"
)

var (
	_ store.Lister     = (*Database)(nil)
	_ store.UnitEraser = (*Database)(nil)
)

// Units calls each for every day of pings, or of points, as store.Lister wants it: the tables
// are parted by days, and rows of a cell are found by reading their day.
func (d *Database) Units(ctx context.Context, name string, from, to int64, each func(u store.Unit, rows uint64) error) error {
	all := store.All()
	from, to = max(from, all.From), min(to, all.To)
	args := []any{time.UnixMilli(from), time.UnixMilli(to)}
	table, column, where := Pings, "ts", ""
	if name != "" {
		table, column, where = Points, "at", " AND name = $3"
		args = append(args, name)
	}
	sql := fmt.Sprintf("SELECT floor(extract(epoch FROM %[1]s) / 86400)::int8, count(*) FROM %[2]s WHERE %[1]s >= $1 AND %[1]s < $2%[3]s GROUP BY 1 ORDER BY 1", column, table, where)
	err := d.query(ctx, sql, args, func(row [][]byte) error {
		day := int64(binary.BigEndian.Uint64(row[0]))
		return each(store.DayUnit(name, day, from, to), binary.BigEndian.Uint64(row[1]))
	})
	if err != nil {
		return fmt.Errorf("list the days of %s: %w", d.where, err)
	}
	return nil
}

// EraseUnit deletes a unit, as store.UnitEraser wants it.
func (d *Database) EraseUnit(ctx context.Context, u store.Unit) error {
	ctx, cancel := context.WithTimeout(ctx, eraseTime)
	defer cancel()
	args := []any{time.UnixMilli(u.From), time.UnixMilli(u.To)}
	sql := "DELETE FROM " + Pings + " WHERE ts >= $1 AND ts < $2"
	switch {
	case u.Name != "":
		sql = "DELETE FROM " + Points + " WHERE at >= $1 AND at < $2 AND name = $3"
		args = append(args, u.Name)
	case u.InCell:
		sql += " AND cell = $3"
		args = append(args, int64(u.Cell))
	}
	_, err := d.reads.Exec(ctx, sql, args...)
	said := new(pgconn.PgError)
	switch {
	case err == nil || errors.As(err, &said) && said.Code == "42P01": // undefined_table
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("delete %v from %s: %w", u, d.where, ctx.Err())
	}
	return fmt.Errorf("delete %v from %s: %w", u, d.where, refusal(err))
}
