package query

import (
	"strconv"
	"time"

	"pingline"
	"pingline/internal/plainjson"
	"pingline/partition"
	"pingline/query/fleet"
)

const featureBytes = 512 // about the bytes of a cell in an answer

// FeaturesOf returns a FeatureCollection with a polygon for each cell. It says if it is partial.
func FeaturesOf(list []Activity, partial bool) []byte {
	out := append(make([]byte, 0, 64+len(list)*featureBytes), `{"type":"FeatureCollection","features":[`...)
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		a := &list[i]
		out = append(out, `{"type":"Feature","geometry":{"type":"Polygon","coordinates":`...)
		out = plainjson.Append(out, [][][2]float64{partition.Outline(a.Cell)})
		out = append(append(append(out, `},"properties":{"cell":"`...), strconv.FormatUint(a.Cell, 16)...), '"')
		for _, p := range [...]struct {
			name string
			v    int64
		}{
			{"res", int64(a.Res)}, {"from", a.From}, {"window_s", a.WindowS}, {"pings", int64(a.Pings)},
			{"riders", int64(a.Riders)}, {"moving", int64(a.Moving)}, {"waiting", int64(a.Waiting)},
		} {
			out = strconv.AppendInt(append(append(append(out, `,"`...), p.name...), `":`...), p.v, 10)
		}
		out = plainjson.Append(append(out, `,"speed_mean":`...), a.SpeedMean)
		out = append(plainjson.Append(append(out, `,"speed_max":`...), a.SpeedMax), "}}"...)
	}
	if partial {
		return append(out, `],"partial":true}`...)
	}
	return append(out, "]}"...)
}

// numberKeys is the JSON in front of the value of each optional number.
var numberKeys = func() (keys [len(pingline.Numbers)]string) {
	for i := range keys {
		keys[i] = `,"` + pingline.Numbers[i].Key + `":`
	}
	return keys
}()

// AppendStored appends a stored ping as JSON: the keys it was sent with, its known
// numbers, and the decisions about it. Another writer may have put any text into the
// store.
func AppendStored(dst []byte, e *pingline.Entry) []byte {
	dst = append(dst, '{')
	if e.Device != "" {
		dst = append(plainjson.Append(append(dst, `"device_id":`...), e.Device), ',')
	}
	dst = strconv.AppendInt(append(dst, `"ts":`...), e.At, 10)
	dst = plainjson.Append(append(dst, `,"lat":`...), e.Lat())
	dst = plainjson.Append(append(dst, `,"lon":`...), e.Lon())
	for i, v := range e.Numbers() {
		if e.Has(1<<i) && v-v == 0 { // finite: JSON has no other numbers
			dst = plainjson.Append(append(dst, numberKeys[i]...), v)
		}
	}
	if e.Event != "" {
		dst = plainjson.Append(append(dst, `,"event":`...), e.Event)
	}
	if e.Trip != "" {
		dst = plainjson.Append(append(dst, `,"trip_id":`...), e.Trip)
	}
	if e.Attrs != "" {
		dst = e.Attrs.AppendJSON(append(dst, `,"attrs":`...))
	}
	if e.Cell != 0 {
		dst = append(strconv.AppendUint(append(dst, `,"cell":"`...), e.Cell, 16), '"')
	}
	if e.Skipped != 0 {
		dst = strconv.AppendUint(append(dst, `,"skipped":`...), uint64(e.Skipped), 10)
	}
	if e.Late {
		dst = append(dst, `,"late":true`...)
	}
	if e.Corrected {
		dst = append(dst, `,"clock":"corrected"`...)
	}
	if e.Verdict == pingline.Held {
		dst = append(dst, `,"waiting":true`...)
	}
	return append(dst, '}')
}

// AppendWhole appends a ping as AppendStored does, with its rider.
func AppendWhole(dst []byte, e *pingline.Entry) []byte {
	dst = append(plainjson.Append(append(dst, `{"rider_id":`...), e.Rider), ',')
	at := len(dst)
	dst = AppendStored(dst, e)
	return append(dst[:at], dst[at+1:]...) // without the brace
}

// AppendSeen appends a rider's newest ping as JSON, with its age.
func AppendSeen(dst []byte, e *pingline.Entry, page *fleet.Riders) []byte {
	dst = AppendWhole(dst, e)
	dst = plainjson.Append(append(dst[:len(dst)-1], `,"age_s":`...), int64(page.Age(e)/time.Second))
	if page.Stale(e) {
		dst = append(dst, `,"stale":true`...)
	}
	return append(dst, '}')
}

// AppendSeen appends where a rider was, as JSON.
func (s *Seen) AppendSeen(dst []byte, i int) []byte {
	dst = AppendSeen(dst, &s.List[i], &s.Riders)
	if s.Between[i] {
		dst = append(dst[:len(dst)-1], `,"between":true}`...)
	}
	return dst
}

// RidersEnd returns the end of the list of a page of riders, and of the object that it is in.
func RidersEnd(page *fleet.Riders) string {
	end := struct {
		Next   string `json:"next,omitempty"`
		At     int64  `json:"at"`
		StaleS int64  `json:"stale_s"`

		Partial bool `json:"partial,omitempty"`
	}{page.Next, page.At, int64(fleet.StaleAfter / time.Second), page.Partial}
	return "]," + string(plainjson.Append(nil, end)[1:])
}
