package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"pingline/sink/store"
)

var (
	_ store.Lister     = (*Tables)(nil)
	_ store.UnitEraser = (*Tables)(nil)
)

// RefusalKind says how to go on after an answer.
func (e *saidError) RefusalKind() store.Kind { return e.kind }

// Units calls each for every day of pings, or of points, as store.Lister wants it. The tables
// are ordered by rider: to read a cell alone is as dear as to read its day.
func (t *Tables) Units(ctx context.Context, name string, from, to int64, each func(u store.Unit, rows uint64) error) error {
	const days = 106_752 // more than any time is before 1970: the division is of numbers above 0
	all := store.All()
	from, to = max(from, all.From), min(to, all.To)
	where := fmt.Sprintf("ts >= %d AND ts < %d", from, to)
	table := tablePings
	if name != "" {
		table = tablePoints
		where += " AND name = " + literal(name)
	}
	var day proto.ColInt64
	var rows proto.ColUInt64
	statement := fmt.Sprintf("SELECT toInt64(intDiv(ts + %d, 86400000)) AS day, toUInt64(count()) AS n FROM %s FINAL WHERE %s GROUP BY day ORDER BY day", days*int64(86_400_000), table, where)
	err := t.selectRows(ctx, statement, proto.Results{{Name: "day", Data: &day}, {Name: "n", Data: &rows}}, func(n int) error {
		for i := range n {
			if err := each(store.DayUnit(name, day[i]-days, from, to), rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the days of ClickHouse database %q: %w", t.database, or(ctx, err))
	}
	return nil
}

// EraseUnit deletes a unit, as store.UnitEraser wants it: by a mutation, which rewrites each
// part that has rows of it.
func (t *Tables) EraseUnit(ctx context.Context, u store.Unit) error {
	where := fmt.Sprintf("ts >= %d AND ts < %d", u.From, u.To)
	table := tablePings
	switch {
	case u.Name != "":
		table = tablePoints
		where += " AND name = " + literal(u.Name)
	case u.InCell:
		where += fmt.Sprintf(" AND cell = %d", u.Cell)
	}
	limited, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	if err := t.mutate(limited, table, where); err != nil {
		return fmt.Errorf("delete %v from ClickHouse database %q: %w", u, t.database, or(ctx, err))
	}
	return nil
}

// mutate deletes rows of a table, and returns once they are gone.
func (t *Tables) mutate(ctx context.Context, table, where string) error {
	known, err := t.facts(ctx, false)
	if errors.Is(err, errNoTables) && t.cfg.CreateSchema {
		return nil // nothing was written yet
	}
	if err != nil {
		return err
	}
	params := t.here()
	known.set(params, "mutations_sync", "2")
	if _, err := t.ask(ctx, params, "ALTER TABLE "+table+" DELETE WHERE "+where, nil); err != nil {
		return err
	}
	// A server that does not know mutations_sync has answered before the deletion.
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for {
		text, err := t.ask(ctx, t.here(), "SELECT count() FROM system.mutations WHERE database = "+literal(t.database)+" AND table = '"+table+"' AND is_done = 0 FORMAT TSV", nil)
		if err != nil || strings.TrimSpace(text) == "0" {
			return err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
