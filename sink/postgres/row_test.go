package postgres

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"testing"

	"pingline"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// Rows of any entry, also of one that no filter lets through, are cut where they end.
func FuzzRow(f *testing.F) {
	f.Add("r", "d", "e", "t", int64(0), uint64(0), 1.5, "k", "v")
	f.Add("r\x00", "\xff", "\"", "\\", int64(math.MaxInt64), uint64(math.MaxUint64), math.Inf(1), "\x00", "\\")
	f.Fuzz(func(t *testing.T, rider, device, event, trip string, at int64, cell uint64, v float64, key, value string) {
		if len(rider)+len(device)+len(event)+len(trip) > 3*pingline.MaxID+pingline.MaxEvent {
			t.Skip("longer than a ping may be")
		}
		ping := pingline.Entry{Ping: pingline.Ping{Rider: rider, Device: device, Event: event, Trip: trip}, Cell: cell}
		ping.At = at
		point := pingline.Entry{Point: &pingline.Point{Name: rider, At: at, Tags: []pingline.Tag{{Key: key, Value: value}},
			Fields: []pingline.PointField{pingline.Float(key, v), pingline.Text(key, value)}}}
		line := pingline.Entry{Line: "l" + key[:min(len(key), pingline.MaxReadyLine-1)]}
		var rows []byte
		for _, e := range []*pingline.Entry{&ping, &point, &line} {
			before := len(rows)
			if rows = appendRow(rows, e); len(rows)-before > store.MaxRow {
				t.Errorf("a row has %d bytes", len(rows)-before)
			}
		}
		n := 0
		for left := rows; ; n++ {
			_, _, _, rest, ok := cutRow(left)
			if !ok {
				break
			}
			left = rest
		}
		if n != 3 {
			t.Errorf("%d rows", n)
		}
		_, _, _, _, _ = cutRow([]byte(rider)) // of any bytes
	})
}

// A reader of any size gets the same bytes: a head, tuples of one kind, and the end. Without
// their last column they are as long as they say, too.
func TestTuples(t *testing.T) {
	var rows []byte
	list := storetest.Dressed(t, 1)
	for i := range list {
		rows = appendRow(rows, &list[i])
		rows = appendRow(rows, &pingline.Entry{Point: &pingline.Point{Name: "p"}})
	}
	for _, bare := range []bool{false, true} {
		columns := len(pingTable.columns)
		if bare {
			columns--
		}
		whole, err := io.ReadAll(newTuples(rows, rowPing, columns, true, bare))
		if err != nil || !bytes.HasPrefix(whole, copyHead) || !bytes.HasSuffix(whole, copyEnd) {
			t.Fatalf("%d bytes, %v", len(whole), err)
		}
		rest, n := whole[len(copyHead):len(whole)-len(copyEnd)], 0
		for ; len(rest) > 0; n++ {
			got := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; got != columns+1 || binary.BigEndian.Uint32(rest[4:]) != uint32(n) {
				t.Fatalf("tuple %d has %d columns, number %d", n, got, binary.BigEndian.Uint32(rest[4:]))
			}
			for range got {
				size := int32(binary.BigEndian.Uint32(rest))
				rest = rest[4+max(size, 0):]
			}
		}
		if n != len(list) {
			t.Errorf("%d tuples, want %d", n, len(list))
		}
		for size := 1; size < 100; size += 7 {
			var got []byte
			r, part := newTuples(rows, rowPing, columns, true, bare), make([]byte, size)
			for {
				k, err := r.Read(part)
				if got = append(got, part[:k]...); err == io.EOF {
					break
				}
			}
			if !bytes.Equal(got, whole) {
				t.Errorf("by %d bytes it is another text", size)
			}
		}
	}
}

// A field keeps its type on the way through jsonb, which knows numbers only.
func TestValues(t *testing.T) {
	for _, f := range []pingline.PointField{
		pingline.Int("k", 0), pingline.Int("k", math.MaxInt64), pingline.Int("k", math.MinInt64), pingline.Float("k", 0), pingline.Float("k", 2), pingline.Float("k", -1e15),
		pingline.Float("k", 1<<53), pingline.Float("k", 1.5e-7), pingline.Bool("k", true), pingline.Bool("k", false), pingline.Text("k", ""), pingline.Text("k", `a"\b`), pingline.Text("k", "é\u007f"),
	} {
		if got, ok := readValue("k", appendValue(nil, &f)); !ok || got != f {
			t.Errorf("%+v is read as %+v, %v", f, got, ok)
		}
	}
}

func BenchmarkAppendRow(b *testing.B) {
	for _, attrs := range []int{0, 4} {
		b.Run(fmt.Sprintf("attrs=%d", attrs), func(b *testing.B) {
			c, buf := storetest.NewConvoy(1000, storetest.Recently, 5000), []byte(nil)
			if attrs > 0 {
				c.Dress()
			}
			list := c.List(1000)
			b.ReportAllocs()
			for b.Loop() {
				buf = buf[:0]
				for i := range list {
					buf = appendRow(buf, &list[i])
				}
			}
			b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
