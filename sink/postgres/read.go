package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pingline"
	"pingline/sink/store"
)

// Points calls each for every stored ping that q selects, as store.Reader wants it. No
// silence within the answer may last longer than the configured timeout, once the first
// row has come; to sort many rows takes longer.
func (d *Database) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	e := pingline.Entry{Verdict: pingline.Accepted}
	columns, err := d.readable(ctx)
	if err != nil {
		return fmt.Errorf("read pings from %s: %w", d.where, err)
	}
	sql, args := selectPings(q, namesOf(columns))
	err = d.query(ctx, sql, args, func(row [][]byte) error {
		nano, placed := setPing(&e, row)
		if !placed {
			return nil
		}
		return each(&e, nano)
	})
	if err != nil {
		return fmt.Errorf("read pings from %s: %w", d.where, err)
	}
	return nil
}

// readable returns the columns of pings that can be read.
func (d *Database) readable(ctx context.Context) ([]tableColumn, error) {
	if l := d.schema.Load(); l != nil {
		return l.columns(&pingTable), nil
	}
	if d.dressed.Load() {
		return pingTable.columns, nil
	}
	there := false
	err := d.query(ctx, "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND atttypid = 'jsonb'::regtype AND NOT attisdropped)",
		[]any{Pings, attrsColumn.name}, func(row [][]byte) error { there = row[0][0] != 0; return nil })
	if err != nil || !there {
		return pingTable.columns[:len(pingTable.columns)-1], err
	}
	d.dressed.Store(true)
	return pingTable.columns, nil
}

// selectPings returns the query for columns of q's rows. It orders by the beginning of the primary key, so
// that the rows of a rider need not be sorted.
func selectPings(q store.Query, columns string) (sql string, args []any) {
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := "ts >= " + arg(time.UnixMilli(q.From)) + " AND ts < " + arg(time.UnixMilli(q.To))
	if q.FromNano > 0 {
		where += " AND (ts > $1 OR nano >= " + arg(q.FromNano) + ")"
	}
	if q.Rider != "" {
		where += " AND rider = " + arg(q.Rider)
	}
	if q.Device != "" {
		where += " AND device = " + arg(q.Device)
	}
	order := "rider, ts, nano"
	if q.Newest {
		order = "rider DESC, ts DESC, nano DESC"
	}
	from := Pings
	if q.Limit > 0 {
		from = fmt.Sprintf("(SELECT %s, row_number() OVER (PARTITION BY rider, device, cell, late, corrected ORDER BY %s) AS n FROM %s WHERE %s) AS numbered",
			columns, strings.TrimPrefix(strings.TrimPrefix(order, "rider DESC, "), "rider, "), Pings, where)
		where = "n <= " + arg(int64(q.Limit))
	}
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", columns, from, where, order), args
}

// Places of columns in a row of pings.
const (
	atRider = iota
	atTS
	atNano
	atDevice
	atCell
	atLate
	atCorrected
	atLat
	atLon
	atNumbers
	atEvent   = iota + len(pingline.Numbers) - 1
	atTrip    = atEvent + 1
	atSkipped = atTrip + 1
	atAttrs   = atSkipped + 1
)

// setPing sets e to a row, and reports false if it has no position.
func setPing(e *pingline.Entry, row [][]byte) (nano int64, placed bool) {
	setText(&e.Rider, row[atRider])
	setText(&e.Device, row[atDevice])
	setText(&e.Event, row[atEvent])
	setText(&e.Trip, row[atTrip])
	nano = int64(int32(binary.BigEndian.Uint32(row[atNano])))
	e.Fix = pingline.Fix{At: milli(row[atTS]), Corrected: row[atCorrected][0] != 0}
	e.Cell, e.Late, e.Apart = binary.BigEndian.Uint64(row[atCell]), row[atLate][0] != 0, nano != 0
	e.Skipped = uint32(binary.BigEndian.Uint64(row[atSkipped]))
	e.Attrs = ""
	if len(row) > atAttrs && row[atAttrs] != nil {
		e.Attrs, _ = pingline.ParseAttrs(row[atAttrs][1:]) // behind the version of the form; "" if others have written what is none
	}
	for i := range pingline.Numbers {
		if b := row[atNumbers+i]; b != nil {
			e.SetOptional(1<<i, float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
		}
	}
	placed = e.SetPosition(math.Float64frombits(binary.BigEndian.Uint64(row[atLat])), math.Float64frombits(binary.BigEndian.Uint64(row[atLon]))) == nil
	return nano, placed
}

// setText sets s to b. Rows of a rider follow each other, and most texts stay the same.
func setText(s *string, b []byte) {
	if *s != string(b) {
		*s = string(b)
	}
}

// milli returns a timestamptz in ms since 1970.
func milli(b []byte) int64 {
	µs := int64(binary.BigEndian.Uint64(b))
	ms := µs / 1000
	if µs%1000 < 0 {
		ms--
	}
	return ms + epoch
}

// PointsNamed calls each for every stored point of a name, as store.PointReader wants it.
func (d *Database) PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error {
	want := appendObject(nil, func(dst []byte) []byte {
		for i := range tags {
			dst = append(appendJSON(appendComma(dst, i), tags[i].Key), ':')
			dst = appendJSON(dst, tags[i].Value)
		}
		return dst
	})
	args := []any{name, time.UnixMilli(from), time.UnixMilli(to), string(want[5:])}
	err := d.query(ctx, "SELECT at, tags, fields FROM "+Points+" WHERE name = $1 AND at >= $2 AND at < $3 AND tags @> $4::text::jsonb ORDER BY at", args, func(row [][]byte) error {
		p, err := readPoint(name, row)
		if err != nil {
			return err
		}
		return each(p)
	})
	if err != nil {
		return fmt.Errorf("read %s from %s: %w", name, d.where, err)
	}
	return nil
}

// readPoint reads a row: at, tags, fields. A value of a type that no point has is left out.
func readPoint(name string, row [][]byte) (*pingline.Point, error) {
	p := &pingline.Point{Name: name, At: milli(row[0])}
	var tags map[string]string
	var fields map[string]json.RawMessage
	for i, into := range []any{&tags, &fields} {
		if err := json.Unmarshal(row[i+1][1:], into); err != nil { // behind the version of the form
			return nil, fmt.Errorf("point of %d: %w", p.At, err)
		}
	}
	for key, value := range tags {
		p.Tags = append(p.Tags, pingline.Tag{Key: key, Value: value})
	}
	slices.SortFunc(p.Tags, func(a, b pingline.Tag) int { return strings.Compare(a.Key, b.Key) })
	for key, value := range fields {
		if f, ok := readValue(key, value); ok {
			p.Fields = append(p.Fields, f)
		}
	}
	slices.SortFunc(p.Fields, func(a, b pingline.PointField) int { return strings.Compare(a.Key, b.Key) })
	return p, nil
}

// readValue returns a field. A number without a point, within 64 bits, is an integer:
// see appendValue.
func readValue(key string, value json.RawMessage) (f pingline.PointField, ok bool) {
	switch value[0] {
	case '"':
		var s string
		err := json.Unmarshal(value, &s)
		return pingline.Text(key, s), err == nil
	case 't', 'f':
		return pingline.Bool(key, value[0] == 't'), true
	case '{', '[', 'n':
		return f, false
	}
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return pingline.Int(key, n), true
	}
	v, err := strconv.ParseFloat(string(value), 64)
	return pingline.Float(key, v), err == nil
}

// query calls each with the columns of every row, in their binary form. A table that is not
// there has no rows.
func (d *Database) query(ctx context.Context, sql string, args []any, each func(row [][]byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows, err := d.reads.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.BinaryFormatCode}}, args...)...)
	if err == nil {
		err = d.rows(rows, each, cancel)
	}
	said := new(pgconn.PgError)
	switch {
	case err == nil || errors.As(err, &said) && said.Code == "42P01": // undefined_table
		return nil
	case ctx.Err() != nil && !errors.As(err, new(*eachError)):
		return context.Cause(ctx)
	case errors.As(err, new(*eachError)):
		return errors.Unwrap(err)
	}
	return refusal(err)
}

// eachError is an error of the caller's.
type eachError struct{ err error }

func (e *eachError) Error() string { return e.err.Error() }
func (e *eachError) Unwrap() error { return e.err }

func (d *Database) rows(rows pgx.Rows, each func(row [][]byte) error, cancel context.CancelCauseFunc) error {
	defer rows.Close()
	var silence *time.Timer
	for rows.Next() {
		if silence != nil {
			silence.Stop()
		}
		if err := each(rows.RawValues()); err != nil {
			cancel(nil) // the rest is not read
			return &eachError{err}
		}
		if silence == nil {
			silence = time.AfterFunc(d.cfg.Timeout, func() { cancel(fmt.Errorf("no answer within %v", d.cfg.Timeout)) })
			defer silence.Stop()
			continue
		}
		silence.Reset(d.cfg.Timeout)
	}
	return rows.Err()
}

// eraseTime is how long PostgreSQL may take to delete the pings of a rider.
const eraseTime = 10 * time.Minute

// Erase deletes all pings of a rider, as store.Eraser wants it.
func (d *Database) Erase(ctx context.Context, rider string) error {
	ctx, cancel := context.WithTimeout(ctx, eraseTime)
	defer cancel()
	_, err := d.reads.Exec(ctx, "DELETE FROM "+Pings+" WHERE rider = $1", rider)
	said := new(pgconn.PgError)
	switch {
	case err == nil || errors.As(err, &said) && said.Code == "42P01":
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("delete from %s: %w", d.where, ctx.Err())
	}
	return fmt.Errorf("delete from %s: %w", d.where, refusal(err))
}
