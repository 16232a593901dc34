package influx_test

import (
	"errors"
	"testing"

	"pingline/internal/influxd"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// On a 1.8, whose DELETE cannot choose a retention policy, a unit that another policy has, too,
// stays; one that it has not goes.
func TestEraseUnitOfOnePolicy(t *testing.T) {
	db := influxd.Run(t, influxd.Config{Version: 1})
	influxtest.CreateBucket(t, db, "pingline/copy", 0)
	from, to := influxtest.Open(t, influxtest.Access(db, "pingline")), influxtest.Open(t, influxtest.Access(db, "pingline/copy"))
	list := storetest.Days(90)
	var rows, copied store.Rows
	for i := range list {
		rows.Bytes, rows.N = from.AppendRow(rows.Bytes, &list[i]), rows.N+1
		if store.Day(list[i].At) == store.Day(storetest.Recently) {
			copied.Bytes, copied.N = to.AppendRow(copied.Bytes, &list[i]), copied.N+1
		}
	}
	if err := errors.Join(from.Write(t.Context(), rows), to.Write(t.Context(), copied)); err != nil {
		t.Fatal(err)
	}
	day := store.Day(storetest.Recently)
	const ever = 1 << 42
	both, alone := store.DayUnit("", day, 0, ever), store.DayUnit("", day-1, 0, ever)
	if err := from.EraseUnit(t.Context(), both); !errors.Is(err, store.ErrBeside) {
		t.Errorf("a day that the other policy has: %v", err)
	}
	if err := from.EraseUnit(t.Context(), alone); err != nil {
		t.Error(err)
	}
	left := map[int64]uint64{}
	err := from.Units(t.Context(), "", 0, ever, func(u store.Unit, n uint64) error { left[store.Day(u.From)] += n; return nil })
	if err != nil || left[day] != uint64(copied.N) || left[day-1] != 0 || left[day-2] == 0 {
		t.Errorf("%v rows are left, want %d of day %d, none of the day before: %v", left, copied.N, day, err)
	}
}
