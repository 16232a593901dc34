package redis

import (
	"encoding/json"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// Rows of any entry, also of one that no filter lets through, are cut where they end, and
// any bytes are cut without harm.
func FuzzRow(f *testing.F) {
	f.Add("r", "d", "e", "t", int64(0), uint64(0), int32(1), int32(2))
	f.Add("r\x00", "\xff", "\"", "\\", int64(1)<<62, uint64(1)<<63, int32(-900_000_000), int32(1))
	f.Fuzz(func(t *testing.T, rider, device, event, trip string, at int64, cell uint64, lat, lon int32) {
		if len(rider)+len(device)+len(event)+len(trip) > 3*pingline.MaxID+pingline.MaxEvent {
			t.Skip("longer than a ping may be")
		}
		e := pingline.Entry{Ping: pingline.Ping{Rider: rider, Device: device, Event: event, Trip: trip}, Cell: cell}
		e.At, e.LatE7, e.LonE7 = at, lat, lon
		var rows []byte
		for _, e := range []*pingline.Entry{&e, {Point: &pingline.Point{Name: rider, At: at}}, {Line: "l" + rider}, {Line: "l" + rider, Kind: pingline.Replayed}} {
			before := len(rows)
			if rows = appendRow(rows, e); len(rows)-before > store.MaxRow {
				t.Errorf("a row has %d bytes", len(rows)-before)
			}
		}
		n := 0
		for left := string(rows); ; n++ {
			_, _, rest, ok := cutRow(left)
			if !ok {
				break
			}
			left = rest
		}
		if n != 4 {
			t.Errorf("%d rows", n)
		}
		_, _ = newestOf(rider) // any bytes
	})
}

// A hash of any content is a ping, or none; a message is JSON whatever a field has.
func FuzzHash(f *testing.F) {
	f.Add("1760000000123", "41.1578", "-8.6291", "7.5", "8539220ffffffff", "2", `a "b"`)
	f.Add("x", "1e400", "nan", "inf", "-1", "99999999999", "\xff\x00")
	f.Fuzz(func(t *testing.T, ts, lat, lon, speed, cell, skipped, trip string) {
		e, ok := entryOf("r", map[string]string{"ts": ts, "lat": lat, "lon": lon, "speed": speed, "cell": cell, "skipped": skipped, "trip_id": trip})
		if ok && e.Speed-e.Speed != 0 {
			t.Errorf("%+v", e)
		}
		if text := appendMessage(nil, trip, []string{"ts", "1", "trip_id", trip}); !json.Valid(text) {
			t.Errorf("%q is no JSON", text)
		}
	})
}

// Of the pings of a rider in a write the newest is sent, of two with the same ts the last.
func TestNewestOfAWrite(t *testing.T) {
	list := storetest.Fleet(1, 10)
	var rows []byte
	for i, at := range []int64{5, 9, 9, 7} {
		e := list[0]
		e.At, e.Skipped = at, uint32(i)
		rows = appendRow(appendRow(rows, &e), &list[1+i])
	}
	got, refused := newestOf(string(rows))
	if refused != nil || len(got) != 5 || got[0].rider != list[0].Rider || got[0].ts != 9 {
		t.Fatalf("%+v, %v", got, refused)
	}
	var fields []string
	for texts := got[0].texts; ; {
		text, rest, ok := cutText(texts)
		if !ok {
			break
		}
		fields, texts = append(fields, text), rest
	}
	hash := make(map[string]string)
	for i := 1; i+1 < len(fields); i += 2 {
		hash[fields[i]] = fields[i+1]
	}
	if e, ok := entryOf(got[0].rider, hash); !ok || e.Skipped != 2 {
		t.Errorf("sent is %+v of %v", e, hash)
	}
}

func BenchmarkAppendRow(b *testing.B) {
	list, buf := storetest.Fleet(1, 1000), []byte(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = buf[:0]
		for i := range list {
			buf = appendRow(buf, &list[i])
		}
	}
	b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "rows/s")
}
