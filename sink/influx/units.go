package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/sink/store"
)

var (
	_ store.Lister     = (*Bucket)(nil)
	_ store.CellReader = (*Bucket)(nil)
	_ store.UnitEraser = (*Bucket)(nil)
)

// RefusalKind says how to go on after an answer.
func (e *AnswerError) RefusalKind() store.Kind { return e.Kind }

// PingsOfCells calls each for every stored ping of cells that q selects, as store.CellReader
// wants it.
func (b *Bucket) PingsOfCells(ctx context.Context, q store.Query, cells []uint64, each func(e *pingline.Entry, nano int64) error) error {
	if len(cells) == 0 {
		return ctx.Err()
	}
	list := make([]string, len(cells))
	for i, c := range cells {
		list[i] = isCell(c)
	}
	return b.points(ctx, q, ` AND (`+strings.Join(list, ` OR `)+`)`, each)
}

// isCell is the condition of being in a cell.
func isCell(cell uint64) string {
	if cell == 0 {
		return `"cell" = ''`
	}
	return `"cell" = '` + strconv.FormatUint(cell, 16) + `'`
}

// Units calls each for the units of pings, each of a cell and a day, or for the days of points,
// as store.Lister wants it: a count by cell and day reads one field alone.
func (b *Bucket) Units(ctx context.Context, name string, from, to int64, each func(u store.Unit, rows uint64) error) error {
	in, err := b.source(ctx)
	if err == nil {
		measurement, counted, by := name, `*`, ``
		if name == "" {
			measurement, counted, by = Measurement, `"lat"`, `, "cell"`
		}
		q := store.All()
		from, to = max(from, q.From), min(to, q.To)
		iql := fmt.Sprintf(`SELECT count(%s) FROM %s WHERE time >= %dms AND time < %dms GROUP BY time(1d)%s fill(none)`,
			counted, identifiers(measurement), from, to, by)
		err = query(ctx, b, http.MethodGet, in.params(iql), func(s *countSeries) error { return s.units(name, from, to, each) })
	}
	if err != nil {
		return fmt.Errorf("list the units of bucket %q: %w", b.cfg.Bucket, err)
	}
	return nil
}

// countSeries has counts by day.
type countSeries struct {
	Tags   struct{ Cell string }
	Values [][]json.Number // ns of the day, and a count for each field
}

func (s *countSeries) units(name string, from, to int64, each func(u store.Unit, rows uint64) error) error {
	cell := uint64(0)
	if s.Tags.Cell != "" {
		var err error
		if cell, err = strconv.ParseUint(s.Tags.Cell, 16, 64); err != nil {
			return fmt.Errorf("tag cell=%q: %w", s.Tags.Cell, err)
		}
	}
	for _, row := range s.Values {
		if len(row) < 2 {
			return fmt.Errorf("a row of %d columns", len(row))
		}
		ns, err := row[0].Int64()
		if err != nil {
			return err
		}
		rows := int64(0)
		for _, n := range row[1:] {
			if n, err := n.Int64(); err == nil {
				rows = max(rows, n)
			}
		}
		u := store.DayUnit(name, store.Day(pingline.FloorMilli(ns)), from, to)
		u.InCell, u.Cell = name == "", cell
		if rows == 0 {
			continue
		}
		if err := each(u, uint64(rows)); err != nil {
			return err
		}
	}
	return nil
}

// EraseUnit deletes a unit, as store.UnitEraser wants it. InfluxQL's DELETE of 1.8 deletes from
// all retention policies of a database: it is not made if another one has rows of the unit.
func (b *Bucket) EraseUnit(ctx context.Context, u store.Unit) error {
	if err := erase(ctx, b, u, b.eraseUnitByPredicate, b.eraseUnitByQuery); err != nil {
		return fmt.Errorf("delete %v from bucket %q: %w", u, b.cfg.Bucket, err)
	}
	return nil
}

// measurement returns that of a unit, and the condition of being in it.
func measurementOf(u store.Unit) (name, where string) {
	where = fmt.Sprintf(`time >= %dms AND time < %dms`, u.From, u.To)
	if u.InCell {
		where += ` AND ` + isCell(u.Cell)
	}
	if u.Name != "" {
		return u.Name, where
	}
	return Measurement, where
}

// eraseUnitByQuery is for 1.8.
func (b *Bucket) eraseUnitByQuery(ctx context.Context, u store.Unit) error {
	in, err := b.source(ctx)
	if err != nil {
		return err
	}
	name, where := measurementOf(u)
	policies, own, err := b.policies(ctx, in)
	if err != nil {
		return err
	}
	for _, policy := range policies {
		if policy == own {
			continue
		}
		has := false
		iql := fmt.Sprintf(`SELECT * FROM %s.%s WHERE %s LIMIT 1`, identifiers(policy), identifiers(name), where)
		if err := query(ctx, b, http.MethodGet, in.params(iql), func(*namedSeries) error { has = true; return nil }); err != nil {
			return err
		}
		if has {
			return fmt.Errorf("%w: InfluxDB 1.8 deletes from all retention policies of a database at once, and policy %q has rows of that time, too; drop a policy as a whole instead", store.ErrBeside, policy)
		}
	}
	iql := fmt.Sprintf(`DELETE FROM %s WHERE %s`, identifiers(name), where)
	return query[series](ctx, b, http.MethodPost, url.Values{"db": {in.Database}, "q": {iql}}, nil)
}

// policies returns the retention policies of our database, and which of them is ours.
func (b *Bucket) policies(ctx context.Context, in *mapping) (all []string, own string, err error) {
	own = in.Policy
	err = query(ctx, b, http.MethodGet, in.params(`SHOW RETENTION POLICIES`), func(s *policySeries) error {
		for _, row := range s.Values {
			if len(row) < 2 {
				return errors.New("a retention policy without a name")
			}
			name, _ := row[0].(string)
			if first, _ := row[len(row)-1].(bool); first && own == "" {
				own = name
			}
			all = append(all, name)
		}
		return nil
	})
	return all, own, err
}

// policySeries are retention policies: the name first, and last whether it is the default.
type policySeries struct{ Values [][]any }

// eraseUnitByPredicate is for 2.x.
func (b *Bucket) eraseUnitByPredicate(ctx context.Context, u store.Unit) error {
	name, _ := measurementOf(u)
	if u.InCell && u.Cell == 0 {
		return fmt.Errorf("%w: InfluxDB 2.x cannot say that a point has no cell; the retention of the bucket ends them", store.ErrBeside)
	}
	predicate := `_measurement="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
	if u.InCell {
		predicate += ` AND cell="` + strconv.FormatUint(u.Cell, 16) + `"`
	}
	return b.deleteWhere(ctx, predicate, time.UnixMilli(u.From), time.UnixMilli(u.To).Add(-1))
}
