package vertices

import "encoding/binary"

// AppendPoints appends points to dst, little endian: u8 number, then u32, u32, i32 of
// each.
func AppendPoints(dst []byte, points []Packed) []byte {
	dst = append(dst, byte(len(points)))
	for _, p := range points {
		dst = binary.LittleEndian.AppendUint32(dst, p.Since)
		dst = binary.LittleEndian.AppendUint32(dst, p.Lat)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(p.Lon))
	}
	return dst
}

// AppendChain appends the chain that starts at top to dst: u16 number of blocks, then
// the points of each, from the oldest block on.
func (p *Pool) AppendChain(dst []byte, top uint32) []byte {
	at := len(dst)
	dst = append(dst, 0, 0)
	if top == 0 {
		return dst
	}
	blocks := uint16(0)
	for k := p.At(top).newer; ; k = p.At(k).newer {
		b := p.At(k)
		dst = AppendPoints(dst, b.points[:b.n])
		blocks++
		if k == top {
			break
		}
	}
	binary.LittleEndian.PutUint16(dst[at:], blocks)
	return dst
}

// Restore adds a block of points, or of marks, as the newest to the chain that starts
// at top. It returns false if there is no memory for blocks at all.
func (p *Pool) Restore(owner uint32, top *uint32, points []Packed, marks bool) bool {
	k := p.take(owner)
	if k == 0 {
		return false
	}
	p.link(top, k)
	b := p.At(k)
	b.n, b.marks = uint8(copy(b.points[:], points)), marks
	if !marks {
		recent, _ := p.of(owner)
		recent.Beyond += uint16(b.n)
	}
	return true
}
