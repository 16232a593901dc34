package influx_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// The first value that comes fixes the type of an attribute: of later pings those with another
// type are named, and all others are stored.
func TestAttributeOfAnotherType(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			server := influxd.Run(t, influxd.Config{Version: version})
			b := influxtest.Open(t, influxtest.Access(server, "pingline"))
			list := storetest.Fleet(31, 20)
			with := func(i int, f pingline.PointField) {
				a, err := pingline.NewAttrs(f)
				if err != nil {
					t.Fatal(err)
				}
				list[i].Attrs = a
			}
			put := func(some []pingline.Entry) error {
				rows := store.Rows{N: len(some)}
				for i := range some {
					rows.Bytes = b.AppendRow(rows.Bytes, &some[i])
				}
				return b.Write(t.Context(), rows)
			}
			with(0, pingline.Text("door", "open"))
			with(1, pingline.Float("fuel", 1))
			if err := put(list[:2]); err != nil {
				t.Fatal(err)
			}
			with(2, pingline.Float("fuel", 0.5)) // 1 and 0.5 are of one type
			with(3, pingline.Bool("door", true))
			with(4, pingline.Text("door", "closed"))
			err := put(list[2:])
			r := new(store.Refusal)
			if !errors.As(err, &r) || r.Kind != store.BadRows || r.Reason != store.TypeConflict || !strings.Contains(err.Error(), "attr_door") {
				t.Fatalf("the error is %v", err)
			}
			if len(r.Suspects) > 0 && !slices.Contains(r.Suspects, 1) {
				t.Errorf("rows %v are named", r.Suspects)
			}
			if err := put(slices.Concat(list[2:3], list[4:])); err != nil {
				t.Error(err)
			}
			n := 0
			err = b.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
				if n++; e.Rider == list[3].Rider && e.At == list[3].At {
					t.Errorf("the ping with another type is stored: %s", e.Attrs.AppendJSON(nil))
				}
				return nil
			})
			if err != nil || n != len(list)-1 {
				t.Errorf("%d pings are stored, want %d: %v", n, len(list)-1, err)
			}
		})
	}
}
