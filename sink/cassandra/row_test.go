package cassandra

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// rowsOf encodes entries.
func rowsOf(list ...pingline.Entry) (r store.Rows) {
	for i := range list {
		r.Bytes = appendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}

// A row has the values of all columns, as the driver would encode them.
func TestRowHasCQLValues(t *testing.T) {
	e := storetest.Fleet(1, 1)[0]
	e.At, e.Device, e.Event, e.Trip = 86_400_001, "d", "", "t"
	e.Known = pingline.HasSpeed
	*e.Numbers() = [len(pingline.Numbers)]float32{2.5}
	var err error
	if e.Attrs, err = pingline.NewAttrs(pingline.Text("door", `"open"`), pingline.Float("fuel", 0.5)); err != nil {
		t.Fatal(err)
	}
	kind, row, rest, err := cutRow(rowsOf(e).Bytes)
	if kind != rowPing || len(rest) != 0 || err != nil {
		t.Fatal(kind, rest, err)
	}
	cells, args := make([]cqlValue, pingColumns), make([]any, pingColumns)
	if err := values(row, cells, args); err != nil {
		t.Fatal(err)
	}
	types := map[string]gocql.Type{"text": gocql.TypeText, "date": gocql.TypeDate, "timestamp": gocql.TypeTimestamp, "int": gocql.TypeInt, "bigint": gocql.TypeBigInt,
		"boolean": gocql.TypeBoolean, "double": gocql.TypeDouble, "float": gocql.TypeFloat, "smallint": gocql.TypeSmallInt}
	for name, v := range map[string]any{
		"rider": e.Rider, "day": time.UnixMilli(e.At).UTC(), "ts": e.At, "nano": int32(e.Nano()), "device": "d", "cell": int64(e.Cell), "late": e.Late, "corrected": false,
		"lat": e.Lat(), "lon": e.Lon(), "speed": float32(2.5), "trip": "t", "skipped": int32(e.Skipped), "known": int16(pingline.HasSpeed | knowsTrip | knowsAttrs),
		"attrs": `{"door":"\"open\"","fuel":0.5}`,
	} {
		i := slices.IndexFunc(pingTable.columns, func(c cqlColumn) bool { return c.name == name })
		want, err := gocql.Marshal(gocql.NewNativeType(4, types[pingTable.columns[i].kind], ""), v)
		if err != nil || !bytes.Equal(cells[i], want) {
			t.Errorf("%s is %x, want %x, %v", name, cells[i], want, err)
		}
	}
	if before := dateOf(-1); before != 1<<31-1 { // the driver takes it for 1970-01-01
		t.Errorf("1969-12-31 is %d", before)
	}
	for _, i := range []int{pingNumbers + 1, pingEvent} {
		if args[i] != gocql.UnsetValue {
			t.Errorf("column %s is %v, want that it is not set", pingTable.columns[i].name, args[i])
		}
	}
}

// A write is one request for each partition, of limited size, with the last of rows that are
// the same; a line of an earlier version, or a point without end, is refused alone.
func TestRequestsOfAWrite(t *testing.T) {
	k, err := New(Config{URL: "cassandra://h/k", BatchRows: 7})
	if err != nil {
		t.Fatal(err)
	}
	list := storetest.Fleet(1, 200) // ten riders
	last := list[3]
	last.Skipped += 9
	list = append(list, last)
	w, err := k.sort(rowsOf(list...))
	if err != nil || len(w.requests) != 30 || !slices.Equal(w.spans, []spanKey{{spanPings, floorTo(list[0].At, milliPerDay)}}) {
		t.Fatalf("%d requests, spans %v, %v", len(w.requests), w.spans, err)
	}
	n := 0
	for _, r := range w.requests {
		if n += len(r.rows); len(r.rows) > 7 {
			t.Errorf("a request has %d rows", len(r.rows))
		}
		for i, row := range r.rows {
			if want := rowsOf(list[r.index[i]]).Bytes[rowHead:]; !bytes.Equal(row, want) || r.index[i] == 3 {
				t.Errorf("row %d is %x, want %x", r.index[i], row, want)
			}
		}
	}
	if n != 200 {
		t.Errorf("%d rows, want 200", n)
	}
	line := pingline.Entry{Kind: pingline.Self, Line: "a b=1 2"}
	_, err = k.sort(rowsOf(list[0], line, list[1]))
	if r := refusal(err); r.Kind != store.BadRows || r.Reason != store.Unparsable || !slices.Equal(r.Suspects, []int{1}) || r.All {
		t.Errorf("of a line: %+v", r)
	}
	long := pingline.Entry{Kind: pingline.Self, Point: &pingline.Point{Name: "p", Fields: []pingline.PointField{pingline.Text("k", strings.Repeat("x", 70_000))}}}
	_, err = k.sort(rowsOf(long))
	if r := refusal(err); r.Kind != store.BadRows || r.Reason != store.TooLarge || !r.All {
		t.Errorf("of a point without end: %+v", r)
	}
	for _, b := range [][]byte{{9, 0, 0}, {0}, {0, 0, 9, 1}, {0, 0, 2, 0, 9}, {1, 0, 0}} {
		if _, err := k.sort(store.Rows{Bytes: b, N: 1}); err == nil {
			t.Errorf("%x is taken for a row", b)
		}
	}
}

func TestTokensCoverAll(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 1000} {
		next := int64(math.MinInt64)
		for i := range n {
			first, last := tokens(i, n)
			if first != next || last < first {
				t.Fatalf("part %d of %d is %d to %d, want it to begin at %d", i, n, first, last, next)
			}
			next = last + 1
		}
		if next != math.MinInt64 { // behind the last there is nothing
			t.Errorf("%d parts end before %d", n, next)
		}
	}
}

func TestStampsGrow(t *testing.T) {
	last := int64(0)
	for range 10_000 {
		now := stamp()
		if now <= last {
			t.Fatalf("%d behind %d", now, last)
		}
		last = now
	}
}

// FuzzReadPoint reads rows of points: of ours, and of servers that have anything.
func FuzzReadPoint(f *testing.F) {
	p := &pingline.Point{Name: "p", At: 1, Tags: []pingline.Tag{{Key: "a", Value: "b"}}, Fields: []pingline.PointField{
		pingline.Bool("b", true), pingline.Float("f", 1.5), pingline.Int("i", -1), pingline.Text("t", "x")}}
	row := rowsOf(pingline.Entry{Point: p}).Bytes[rowHead:]
	cells, args := make([]cqlValue, pointColumns), make([]any, pointColumns)
	if err := values(row, cells, args); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(cells[pointTags]), []byte(cells[pointInts]), []byte(cells[pointFloats]), []byte(cells[pointTexts]), []byte(cells[pointBools]))
	if got, err := readPoint(cells); err != nil || !got.Equal(p) {
		f.Fatalf("%+v, %v, want %+v", got, err, p)
	}
	f.Fuzz(func(t *testing.T, tags, ints, floats, texts, bools []byte) {
		row := append(slices.Clone(cells[:pointTags]), tags, ints, floats, texts, bools)
		got, err := readPoint(row)
		if err == nil && len(got.Fields)+len(got.Tags) > len(tags)+len(ints)+len(floats)+len(texts)+len(bools) {
			t.Errorf("%d fields of few bytes", len(got.Fields))
		}
	})
}
