package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/internal/influxd"
	"pingline/partition"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

var city = partition.Box{West: -8.7, South: 41.1, East: -8.5, North: 41.2}

// at is a position's cell of a resolution, as a tag.
func at(t *testing.T, res int, lat, lon float64) (tag string, cell uint64) {
	t.Helper()
	cells, err := partition.NewCells(res)
	if err != nil {
		t.Fatal(err)
	}
	var f pingline.Fix
	if err := f.SetPosition(lat, lon); err != nil {
		t.Fatal(err)
	}
	cell = cells.Exact(&f)
	return fmt.Sprintf("%x", cell), cell
}

// The past is answered from totals in a real store, two buckets of which hold some of them
// twice.
func TestThePastOfStores(t *testing.T) {
	influxtest.EachVersion(t, influxd.Config{}, testThePast)
}

func testThePast(t *testing.T, server *influxd.Server) {
	in, cell := at(t, 8, 41.15, -8.6)
	near, _ := at(t, 8, 41.16, -8.62)
	out, _ := at(t, 8, 48, 11)
	begin := storetest.Recently / 600_000 * 600_000
	var both, one strings.Builder
	total := func(w *strings.Builder, tag, node, window string, pings, riders int, ms int64) {
		fmt.Fprintf(w, "cell_activity,cell=%s,node=%s,res=8,window=%s pings=%di,riders=%di,moving=%di,waiting=1i,speed_mean=%d,speed_max=9.5 %d\n",
			tag, node, window, pings, riders, riders-1, pings, ms*1_000_000)
	}
	for i := range int64(12) { // two minutes
		total(&both, in, "a", "10s", 10, 3, begin+10_000*i)
		total(&one, in, "b", "10s", 20, 5, begin+10_000*i)
		total(&one, near, "a", "10s", 1, 1, begin+10_000*i)
		total(&one, out, "a", "10s", 1000, 100, begin+10_000*i)
	}
	for i := range int64(2) {
		total(&one, in, "a", "1m", 60, 7, begin+60_000*i)
	}
	total(&one, in, "a", "1m", 77, 8, begin+600_000) // in overload only long windows were stored
	one.WriteString(both.String())
	var stores []store.PointReader
	for name, lines := range map[string]string{"a": both.String(), "b": one.String()} {
		if err := server.CreateBucket(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
		bucket := influxtest.Open(t, influxtest.Access(server, name))
		influxtest.Write(t, bucket, lines)
		stores = append(stores, bucket)
	}
	cfg := Config{Stores: stores, Resolutions: []int{8, 6}, Windows: []time.Duration{10 * time.Second, time.Minute}}
	h := New(cfg)
	list, partial, err := h.Cells(t.Context(), city, -1, begin+25_000, 10)
	if err != nil || partial || len(list) != 2 {
		t.Fatalf("%+v, %v, %v", list, partial, err)
	}
	for _, a := range list {
		if a.From != begin+20_000 || a.WindowS != 10 || a.Res != 8 || a.SpeedMax != 9.5 {
			t.Errorf("a cell: %+v", a)
		}
		if a.Cell == cell && (a.Pings != 30 || a.Riders != 8 || a.Moving != 6 || a.Waiting != 2 || a.SpeedMean < 16.6 || a.SpeedMean > 16.7) {
			t.Errorf("a cell that two nodes know: %+v", a)
		}
	}
	if list, _, err = h.Cells(t.Context(), city, 8, begin+630_000, 10); err != nil || len(list) != 1 || list[0].Pings != 77 || list[0].WindowS != 60 {
		t.Errorf("of long windows only: %+v, %v", list, err)
	}
	if list, _, err = h.Cells(t.Context(), city, 8, begin-1, 10); err != nil || len(list) != 0 {
		t.Errorf("before all: %+v, %v", list, err)
	}
	if list, _, err = h.Cells(t.Context(), city, 8, math.MinInt64/1_000_000, 10); err != nil || len(list) != 0 {
		t.Errorf("at the oldest time: %+v, %v", list, err)
	}
	if list, _, err = h.Cells(t.Context(), city, 8, begin, 1); err != nil || len(list) != 1 {
		t.Errorf("at most one: %+v, %v", list, err)
	}
	if _, _, err = h.Cells(t.Context(), city, 7, begin, 10); !errors.Is(err, ErrNotKept) {
		t.Errorf("resolution 7: %v", err)
	}
	steps, err := h.Steps(t.Context(), &Period{Box: city, Res: -1, From: begin + 5000, To: begin + 120_000, Step: 30 * time.Second})
	if err != nil || len(steps.Steps) != 4 || steps.WindowS != 10 || steps.Partial {
		t.Fatalf("%+v, %v", steps, err)
	}
	for i, s := range steps.Steps {
		if s.From != begin+30_000*int64(i) || s.Pings != 3*31 || s.Riders != 9 || s.Moving != 6 || s.Waiting != 3 || s.SpeedMax != 9.5 {
			t.Errorf("step %d: %+v", i, s)
		}
	}
	steps, err = h.Steps(t.Context(), &Period{Box: city, Res: 8, From: begin, To: begin + 240_000, Step: 2 * time.Minute})
	if err != nil || len(steps.Steps) != 2 || steps.WindowS != 60 || steps.Steps[0].Pings != 120 || steps.Steps[0].Riders != 7 || steps.Steps[1].Pings != 0 {
		t.Errorf("of long windows: %+v, %v", steps, err)
	}

	cfg.Stores = append(stores, silent{})
	if list, partial, err = New(cfg).Cells(t.Context(), city, 8, begin, 10); err != nil || !partial || len(list) != 2 {
		t.Errorf("with a store that is silent: %d cells, %v, %v", len(list), partial, err)
	}
	cfg.Stores = []store.PointReader{silent{}}
	if _, err = New(cfg).Steps(t.Context(), &Period{Box: city, Res: 8, To: 1, Step: time.Minute}); err == nil {
		t.Error("all stores are silent, and that is no error")
	}
}

type silent struct{}

func (silent) PointsNamed(context.Context, string, int64, int64, func(*pingline.Point) error, ...pingline.Tag) error {
	return errors.New("silent")
}

func TestSpansThatCannotBeAnswered(t *testing.T) {
	h := New(Config{Resolutions: []int{8}, Windows: []time.Duration{10 * time.Second}})
	for _, tt := range []struct {
		q  Period
		ok bool
	}{
		{Period{To: 10_000_000, Step: 10 * time.Second, Res: -1}, true},
		{Period{To: 10_010_000, Step: 10 * time.Second, Res: 8}, false},
		{Period{To: 10_000, Step: time.Second, Res: 8}, false},
		{Period{To: 10_000, Step: time.Minute, Res: 7}, false},
		{Period{To: 1e12, Step: 1e6 * time.Second, Res: 8}, false},             // too many windows
		{Period{From: 1e12, To: 1e12, Step: 2e9 * time.Second, Res: 8}, false}, // from 1970 on
		{Period{From: 999_999_999, To: 1e9 + 5000, Step: 1e5 * time.Second, Res: 8}, true},
	} {
		if err := h.Check(&tt.q); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrNotKept) {
			t.Errorf("%+v: %v", tt.q, err)
		}
	}
}

// busy is a store with a total of many windows.
type busy struct{}

func (busy) PointsNamed(_ context.Context, name string, from, to int64, each func(*pingline.Point) error, tags ...pingline.Tag) error {
	for n := range 2 * mostTotals {
		p := pingline.Point{Name: name, At: from, Tags: append([]pingline.Tag{{Key: "cell", Value: "8839220f09fffff"}, {Key: "node", Value: fmt.Sprint(n)}}, tags...)}
		p.Fields = []pingline.PointField{pingline.Int("pings", 7)}
		if err := each(&p); err != nil {
			return err
		}
	}
	return nil
}

// A question that would take too much memory is refused.
func TestTooMuchPast(t *testing.T) {
	h := New(Config{Stores: []store.PointReader{busy{}, busy{}}, Resolutions: []int{8}, Windows: []time.Duration{10 * time.Second}})
	globe := partition.Box{West: -180, South: -90, East: 180, North: 90}
	if _, err := h.Steps(t.Context(), &Period{Box: globe, Res: 8, To: 10_000, Step: 10 * time.Second}); !errors.Is(err, ErrTooMuch) {
		t.Errorf("%v", err)
	}
}
