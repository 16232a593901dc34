package clickhouse

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pingline"
	"pingline/sink/store"
)

// Points calls each for every stored ping that q selects, as store.Reader wants it. The
// whole answer may take any time, but no silence within it may last longer than the
// configured timeout.
func (t *Tables) Points(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	columns := newPingColumns()
	var e pingline.Entry
	known, err := t.facts(ctx, false)
	if err == nil {
		list := columns.read(known.bare != "")
		err = t.selectRows(ctx, selectPings(q, list), resultsOf(list), func(rows int) error {
			for i := range rows {
				if !columns.set(&e, i) {
					continue
				}
				if err := each(&e, int64(columns.nano[i])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if errors.Is(err, errNoTables) && t.cfg.CreateSchema {
		return nil // nothing was written yet
	}
	if err != nil {
		return fmt.Errorf("read pings from ClickHouse database %q: %w", t.database, or(ctx, err))
	}
	return nil
}

// or returns the error of a context that has ended, or else err.
func or(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// read are the columns but version, whose work is done by FINAL.
func (c *pingColumns) read(bare bool) []namedColumn { return without(c.list(bare)) }

func (c *pointColumns) read() []namedColumn { return without(c.list()) }

func without(list []namedColumn) []namedColumn { return list[:len(list)-1] }

func namesOf(list []namedColumn) string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].name
	}
	return strings.Join(names, ", ")
}

// selectPings orders by a beginning of the table's own order, so that a newer server
// need not sort, and each series is in order as well.
func selectPings(q store.Query, columns []namedColumn) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s FROM %s FINAL WHERE ts >= %d AND ts < %d", namesOf(columns), tablePings, q.From, q.To)
	if q.FromNano > 0 {
		fmt.Fprintf(&b, " AND (ts > %d OR nano >= %d)", q.From, q.FromNano)
	}
	if q.Rider != "" {
		b.WriteString(" AND rider = " + literal(q.Rider))
	}
	if q.Device != "" {
		b.WriteString(" AND device = " + literal(q.Device))
	}
	way := ""
	if q.Newest {
		way = " DESC"
	}
	fmt.Fprintf(&b, " ORDER BY rider%[1]s, device%[1]s, ts%[1]s, nano%[1]s", way)
	if q.Limit > 0 {
		b.WriteString(" LIMIT " + strconv.Itoa(q.Limit) + " BY rider, device, cell, late, corrected")
	}
	return b.String()
}

// PointsNamed calls each for every stored point of a name, as store.PointReader wants
// it.
func (t *Tables) PointsNamed(ctx context.Context, name string, from, to int64, each func(p *pingline.Point) error, tags ...pingline.Tag) error {
	columns := newPointColumns()
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s FROM %s FINAL WHERE name = %s AND ts >= %d AND ts < %d", namesOf(columns.read()), tablePoints, literal(name), from, to)
	for _, tag := range tags {
		fmt.Fprintf(&b, " AND has(tag_keys, %[1]s) AND tag_values[indexOf(tag_keys, %[1]s)] = %[2]s", literal(tag.Key), literal(tag.Value))
	}
	var p pingline.Point
	err := t.selectRows(ctx, b.String(), resultsOf(columns.read()), func(rows int) error {
		for i := range rows {
			if err := columns.set(&p, i); err != nil {
				return err
			}
			if err := each(&p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read %s from ClickHouse database %q: %w", name, t.database, or(ctx, err))
	}
	return nil
}

// addFields appends the fields of a type to a point.
func addFields[V any](p *pingline.Point, keys []string, values []V, field func(string, V) pingline.PointField) error {
	if len(keys) != len(values) {
		return fmt.Errorf("point %s of %d: %d keys and %d values of a type", p.Name, p.At, len(keys), len(values))
	}
	for i := range keys {
		p.Fields = append(p.Fields, field(keys[i], values[i]))
	}
	return nil
}

func sortFields(list []pingline.PointField) {
	slices.SortFunc(list, func(a, b pingline.PointField) int { return strings.Compare(a.Key, b.Key) })
}

// literal writes a string for SQL. A character beyond letters, digits and a few signs
// has the whole string written as hex digits, in which nothing can end the literal, by
// the rules of any version. Servers before 19.14 know no parameters of queries.
func literal(s string) string {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_-.: @", rune(c)) {
			return "unhex('" + hex.EncodeToString([]byte(s)) + "')"
		}
	}
	return "'" + s + "'"
}

// identifier writes a name for SQL; it has no control characters.
func identifier(s string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(s) + "`"
}
