package influx_test

import (
	"strings"
	"testing"

	"pingline"
	"pingline/internal/influxd"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// The first value that comes fixes the type of an attribute: a later ping with another type is
// stored without that one, and counted.
func TestAttributeOfAnotherType(t *testing.T) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			server := influxd.Run(t, influxd.Config{Version: version})
			b := influxtest.Open(t, influxtest.Access(server, "pingline"))
			list := storetest.Fleet(31, 20)
			with := func(i int, some ...pingline.PointField) {
				a, err := pingline.NewAttrs(some...)
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
			with(3, pingline.Bool("door", true), pingline.Float("fuel", 0.25))
			with(4, pingline.Text("door", "closed"))
			with(5, pingline.Bool("door", false), pingline.Text("fuel", "full"))
			if err := put(list[2:]); err != nil {
				t.Fatal(err)
			}
			if n, why := b.AttrsLost(); n != 2 || !strings.Contains(why, "InfluxDB has attr_") || !strings.Contains(why, " of type ") {
				t.Errorf("of %d pings something is lost: %q", n, why)
			}
			with(3, pingline.Float("fuel", 0.25))
			with(5)
			n := 0
			err := b.Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
				n++
				for i := range list {
					if e.Rider == list[i].Rider && e.At == list[i].At && e.Attrs != list[i].Attrs {
						t.Errorf("ping %d has %s, want %s", i, e.Attrs.AppendJSON(nil), list[i].Attrs.AppendJSON(nil))
					}
				}
				return nil
			})
			if err != nil || n != len(list) {
				t.Errorf("%d pings are stored, want %d: %v", n, len(list), err)
			}
		})
	}
}
