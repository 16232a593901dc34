package copying_test

import (
	"strings"
	"testing"

	"pingline/internal/influxd"
	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/copying"
	"pingline/sink/influx/influxtest"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// From an InfluxDB, by cells, into a ClickHouse and from there, by days, into a PostgreSQL: all
// is the same, a row that is lost on the way is found, by counts alone, and copied again; then a
// source is emptied.
func TestStoresOfSeveralKinds(t *testing.T) {
	db, ch, pg := influxd.Run(t, influxd.Config{Version: 1}), clickhousetest.Run(t), postgrestest.Run(t)
	from := influxtest.Open(t, influxtest.Access(db, "pingline"))
	tables, err := clickhouse.New(clickhouse.Config{URL: ch.URL("pingline"), PasswordFile: ch.PasswordFile(), CreateSchema: true, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tables.Close() })
	database, err := postgres.New(postgres.Config{URL: pg.URL("pingline"), PasswordFile: pg.PasswordFile(), Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = database.Close() })
	list := history(1000)
	dressed := 0
	for i, e := range storetest.Dressed(t, 5) {
		if list[9*i].Attrs = e.Attrs; e.Attrs != "" {
			dressed++
		}
	}
	write(t, from, list...)
	for _, way := range []struct {
		from, to store.Store
		byCell   bool
	}{{from, tables, true}, {tables, database, false}, {database, from, false}} {
		c, plan := newCopier(t, copying.Config{From: way.from, To: []copying.Target{{Store: way.to}}, Whole: true, Refused: none(t)})
		cells := 0
		for _, u := range plan {
			if u.InCell {
				cells++
			}
		}
		if (cells > 0) != way.byCell || len(plan) < 6 {
			t.Fatalf("the plan is %v", plan)
		}
		copies(t, c, plan)
		if d := differences(t, c, plan, false); len(d) > 0 {
			t.Fatalf("from %T to %T: %v", way.from, way.to, &d[0])
		}
		n := 0
		for _, e := range stored(t, way.to) {
			if e.Attrs != "" {
				n++
			}
		}
		if n != dressed {
			t.Errorf("from %T to %T: %d pings have attributes, want %d", way.from, way.to, n, dressed)
		}
		lost := list[10]
		if way.to == from { // InfluxDB is the target: it has all already
			continue
		}
		if err := way.to.(store.Eraser).Erase(t.Context(), lost.Rider); err != nil {
			t.Fatal(err)
		}
		n, err := c.Verify(t.Context(), plan, 0, false, func(d *copying.Difference) {
			if d.Rider != lost.Rider || d.OnlyInTo != 0 || !strings.Contains(d.String(), "rider "+lost.Rider) {
				t.Errorf("differs: %v", d)
			}
		})
		if err != nil || n == 0 {
			t.Errorf("by counts %d differences, %v", n, err)
		}
		if d := differences(t, c, plan, true); len(d) > 0 {
			t.Errorf("after it was copied again: %v", &d[0])
		}
	}
	c, plan := newCopier(t, copying.Config{From: tables, To: []copying.Target{{Store: database}}, Refused: none(t)})
	if err := c.Delete(t.Context(), plan, func(u copying.Unit, why string) { t.Errorf("%v is kept: %s", u, why) }); err != nil {
		t.Fatal(err)
	}
	if _, plan := newCopier(t, copying.Config{From: tables, To: []copying.Target{{Store: database}}}); len(plan) > 0 || len(stored(t, database)) == 0 {
		t.Errorf("after the deletion there are %v", plan)
	}
}
