package dedupe

import (
	"encoding/binary"
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// decoder takes values off the front of b; once bad, it gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.b, d.bad = nil, true
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) u8() byte     { return d.take(1)[0] }
func (d *decoder) u16() uint16  { return binary.LittleEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32  { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64  { return binary.LittleEndian.Uint64(d.take(8)) }
func (d *decoder) f32() float32 { return math.Float32frombits(d.u32()) }

// name returns "" or an id.
func (d *decoder) name() string {
	s := string(d.take(int(d.u8())))
	d.bad = d.bad || s != "" && pingline.CheckID("name", s) != nil
	return s
}

func (d *decoder) spot() plane.Spot {
	return plane.Spot{At: int64(d.u64()), Lat: int32(d.u32()), Lon: int32(d.u32())}
}

// points fills dst from its start and returns how many it took.
func (d *decoder) points(dst []vertices.Packed) int {
	n := int(d.u8())
	if n > len(dst) {
		d.bad = true
		return 0
	}
	for i := range n {
		dst[i] = vertices.Packed{Since: d.u32(), Lat: d.u32(), Lon: int32(d.u32())}
	}
	return n
}
