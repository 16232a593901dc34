package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pingline"
	"pingline/sink/store"
)

// clocksApart is how far the server's clock may be from ours.
const clocksApart = 5 * time.Second

// Check finds out whether the server answers and its clock agrees with ours, whether the
// tables fit, and whether the role may write to them and read them. It makes nothing.
func (d *Database) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 4*d.cfg.Timeout)
	defer cancel()
	found := func(what, ok string, err error) store.Finding {
		f := store.Finding{What: what, Found: ok}
		if err != nil {
			r := refusal(err)
			f.Found, f.Remedy = r.Error(), "check the server"
			if r.Advice != "" {
				f.Remedy = r.Advice
			}
		}
		return f
	}
	var version string
	var now time.Time
	began := time.Now()
	err := d.writes.QueryRow(ctx, "SELECT current_setting('server_version'), clock_timestamp()").Scan(&version, &now)
	took := time.Since(began)
	list := []store.Finding{found("reachable", fmt.Sprintf("%s is PostgreSQL %s, answers in %d ms", d.where, version, took.Milliseconds()), err)}
	if err != nil {
		return list
	}
	list = append(list, compareClocks(now, began, took))
	fits, made, err := d.checkSchema(ctx)
	note := ""
	if err != nil {
		note = noteOf(err)
	}
	d.note.Store(&note)
	if list = append(list, found("schema", fits, err)); err != nil || !made {
		return list
	}
	list = append(list, found("write", "the role may write", d.try(ctx, new(writeLoad))))
	err = d.Points(ctx, store.Query{From: -1, To: 0, Limit: 1}, func(*pingline.Entry, int64) error { return nil })
	f := found("read", "the role may read", errors.Unwrap(err))
	if f.Remedy != "" {
		f.Remedy = "grant the role SELECT: without it tracks have only the pings that wait in memory"
	}
	return append(list, f)
}

// checkSchema says how the tables are. made is false if some are missing, which the role may
// make.
func (d *Database) checkSchema(ctx context.Context) (said string, made bool, err error) {
	conn, err := d.writes.Acquire(ctx)
	if err != nil {
		return "", false, err
	}
	defer conn.Release()
	l, missing, err := inspect(ctx, conn.Conn())
	if err == nil {
		err = d.usable(l, missing)
	}
	if err != nil {
		return "", false, err
	}
	if len(missing) > 0 {
		var may bool
		err = conn.QueryRow(ctx, "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)").Scan(&may)
		if err == nil && !may {
			err = &misfit{fmt.Sprintf("table %s is not there, and the role may not make it", missing[0].name), grantRights.advice}
		}
		return fmt.Sprintf("table %s is not there: it is made with the first write", missing[0].name), false, err
	}
	said = fmt.Sprintf("tables %s and %s fit", Pings, Points)
	if l.postgis != "" {
		said += ", PostGIS is there"
	}
	if l.bare != "" {
		said += ", but attributes of pings are not kept: " + l.bare
	}
	return said, true, nil
}

// compareClocks says how far the server's time, told between began and began + took, is
// from ours.
func compareClocks(at, began time.Time, took time.Duration) store.Finding {
	f := store.Finding{What: "clock", Found: "PostgreSQL's is the same as ours"}
	apart := time.Duration(0)
	if at.Before(began) {
		apart = at.Sub(began)
	} else if last := began.Add(took); at.After(last) {
		apart = at.Sub(last)
	}
	if apart = apart.Round(time.Second); apart == 0 {
		return f
	}
	f.Found = fmt.Sprintf("PostgreSQL's is %v ahead of ours", apart)
	if apart < 0 {
		f.Found = fmt.Sprintf("PostgreSQL's is %v behind ours", -apart)
	}
	if apart.Abs() > clocksApart {
		f.Remedy = "set both clocks by NTP: now() in queries goes by PostgreSQL's, --max-age and --max-ahead by ours"
	}
	return f
}
