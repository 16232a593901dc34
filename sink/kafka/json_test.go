package kafka

import (
	"encoding/json"
	"math"
	"testing"

	"pingline"
	"pingline/sink/store/storetest"
)

// A number that is not finite makes no broken JSON, wherever it came from.
func TestNumbersThatAreNotFinite(t *testing.T) {
	e := storetest.Fleet(1, 1)[0]
	e.Known, e.Speed, e.Altitude = pingline.HasSpeed|pingline.HasAltitude, float32(math.NaN()), float32(math.Inf(1))
	point := pingline.Point{Name: "p", Fields: []pingline.PointField{pingline.Float("a", math.Inf(-1)), pingline.Float("b", math.NaN())}}
	for _, e := range []*pingline.Entry{&e, {Kind: pingline.Self, Point: &point}} {
		row, rest, err := next(appendRow(nil, e, false))
		if err != nil || len(rest) > 0 || !json.Valid(row.value) {
			t.Errorf("%s, %v", row.value, err)
		}
	}
}
