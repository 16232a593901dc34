package dedupe

import (
	"encoding/binary"
	"math"

	"pingline"
	"pingline/dedupe/plane"
	"pingline/dedupe/vertices"
)

// stateDecoder takes values off the front of b; once bad, it returns zeros.
type stateDecoder struct {
	b   []byte
	bad bool
}

func (d *stateDecoder) take(n int) []byte {
	if len(d.b) < n {
		d.b, d.bad = nil, true
		return make([]byte, n)
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *stateDecoder) u8() byte     { return d.take(1)[0] }
func (d *stateDecoder) u16() uint16  { return binary.LittleEndian.Uint16(d.take(2)) }
func (d *stateDecoder) u32() uint32  { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *stateDecoder) u64() uint64  { return binary.LittleEndian.Uint64(d.take(8)) }
func (d *stateDecoder) f32() float32 { return math.Float32frombits(d.u32()) }

// name returns "" or an id.
func (d *stateDecoder) name() string {
	s := string(d.take(int(d.u8())))
	d.bad = d.bad || s != "" && pingline.CheckID("name", s) != nil
	return s
}

func (d *stateDecoder) spot() plane.Spot {
	return plane.Spot{At: int64(d.u64()), Lat: int32(d.u32()), Lon: int32(d.u32())}
}

// points fills dst from its start and returns the number of points.
func (d *stateDecoder) points(dst []vertices.Packed) int {
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
