package gather

import (
	"encoding/binary"
	"math"
)

// reader reads values from an answer; once bad, it returns zeros.
type reader struct {
	b    []byte
	text string // the same bytes, of which strings are cut
	at   int
	bad  bool
}

func (d *reader) left() int { return len(d.b) - d.at }

func (d *reader) take(n uint64) (from int) {
	if n > uint64(d.left()) {
		d.at, d.bad = len(d.b), true
		return -1
	}
	from = d.at
	d.at += int(n)
	return from
}

func (d *reader) u8() byte {
	if at := d.take(1); at >= 0 {
		return d.b[at]
	}
	return 0
}

func (d *reader) u32() uint32 {
	if at := d.take(4); at >= 0 {
		return binary.LittleEndian.Uint32(d.b[at:])
	}
	return 0
}

func (d *reader) f32() float32 { return math.Float32frombits(d.u32()) }

func (d *reader) f64() float64 {
	if at := d.take(8); at >= 0 {
		return math.Float64frombits(binary.LittleEndian.Uint64(d.b[at:]))
	}
	return 0
}

func (d *reader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.at, d.bad = len(d.b), true
		return 0
	}
	d.at += n
	return v
}

func (d *reader) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *reader) string() string {
	n := d.uvarint()
	if at := d.take(n); at >= 0 {
		return d.text[at:d.at]
	}
	return ""
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
