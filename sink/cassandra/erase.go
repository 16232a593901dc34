package cassandra

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
)

// eraseLimit is how long it may take to delete a rider.
const eraseLimit = 10 * time.Minute

// Erase deletes all pings of a rider, as store.Eraser wants it: the partition of each day that
// has pings of anybody, and the rows of the table latest. Files have the pings until they are
// compacted.
func (k *Keyspace) Erase(ctx context.Context, rider string) error {
	limited, cancel := context.WithTimeout(ctx, eraseLimit)
	defer cancel()
	return k.readFault(limited, "delete from", k.erase(limited, rider))
}

func (k *Keyspace) erase(ctx context.Context, rider string) error {
	l, err := k.readable(ctx)
	if err != nil {
		return err
	}
	days, err := k.readSpans(ctx, l, spanPings, -math.MaxInt64/pingline.NanosPerMilli, math.MaxInt64/pingline.NanosPerMilli)
	if err != nil {
		return err
	}
	if err := k.eraseLatest(ctx, l, rider); err != nil {
		return err
	}
	at := stamp()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlightPerNode)
	for _, day := range days {
		group.Go(func() error { return k.eraseDay(ctx, l, rider, day, at) })
	}
	return group.Wait()
}

// eraseDay deletes a partition, and the rows that are left of it one by one: their times of
// writing are of a clock that was ahead. A partition deleted with such a time would hide what
// comes later.
func (k *Keyspace) eraseDay(ctx context.Context, l *link, rider string, day, at int64) error {
	partition := "pings WHERE rider = ? AND day = ?"
	date := dateValue(day)
	err := l.session.Query("DELETE FROM "+k.to.keyspace+"."+partition, rider, date).WithTimestamp(at).ExecContext(ctx)
	if err != nil {
		return err
	}
	keys := pingTable.columns[pingTS:pingKeys]
	values, args := make([]cqlValue, len(keys)), []any{rider, date}
	var dest []any
	row := "DELETE FROM " + k.to.keyspace + "." + partition
	for i := range keys {
		row += " AND " + keys[i].name + " = ?"
		args, dest = append(args, &values[i]), append(dest, &values[i])
	}
	var written int64
	dest = append(dest, &written)
	scan := l.session.Query("SELECT "+pingTable.names(keys)+", writetime(lat) FROM "+k.to.keyspace+"."+partition, rider, date).IterContext(ctx)
	for scan.Scan(dest...) {
		if err := l.session.Query(row, args...).WithTimestamp(max(at, written)).ExecContext(ctx); err != nil {
			_ = scan.Close()
			return err
		}
	}
	return scan.Close()
}

// eraseLatest deletes the rows of a rider in the table latest, if it is there. A row has the
// time of its ping as its time of writing, which may be ahead of now.
func (k *Keyspace) eraseLatest(ctx context.Context, l *link, rider string) error {
	f, err := k.look(ctx, l)
	if err != nil || f.columns[Latest] == nil {
		return err
	}
	at := stamp()
	scan := l.session.Query("SELECT writetime(lat) FROM "+k.to.keyspace+".latest WHERE rider = ?", rider).IterContext(ctx)
	var written int64
	for scan.Scan(&written) {
		at = max(at, written)
	}
	if err := scan.Close(); err != nil {
		return fmt.Errorf("read %s: %w", Latest, err)
	}
	return l.session.Query("DELETE FROM "+k.to.keyspace+".latest WHERE rider = ?", rider).WithTimestamp(at).ExecContext(ctx)
}
