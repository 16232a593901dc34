package pingline

import "encoding/binary"

// appendPoint appends p's binary form, described in commit.go, to dst.
func appendPoint(dst []byte, p *Point, at int64) []byte {
	dst = appendText(dst, p.Name)
	dst = binary.AppendVarint(dst, at-p.At)
	dst = append(dst, byte(len(p.Tags)))
	for i := range p.Tags {
		dst = appendText(appendText(dst, p.Tags[i].Key), p.Tags[i].Value)
	}
	dst = append(dst, byte(len(p.Fields)))
	for i := range p.Fields {
		f := &p.Fields[i]
		dst = append(appendText(dst, f.Key), byte(f.Type))
		switch f.Type {
		case IntField:
			dst = binary.AppendVarint(dst, f.Int())
		case FloatField:
			dst = binary.LittleEndian.AppendUint64(dst, f.bits)
		case TextField:
			dst = appendText(dst, f.text)
		default:
			dst = append(dst, byte(f.bits))
		}
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// point decodes a point into p, whose memory it uses again.
func (d *decoder) point(p *Point, at int64) {
	start := d.i
	*p = Point{Name: d.text(), At: at - d.varint(), Tags: p.Tags[:0], Fields: p.Fields[:0]}
	for n := d.u8(); n > 0 && !d.bad; n-- {
		p.Tags = append(p.Tags, Tag{d.text(), d.text()})
	}
	for n := d.u8(); n > 0 && !d.bad; n-- {
		f := PointField{Key: d.text(), Type: FieldType(d.u8())}
		switch f.Type {
		case IntField:
			f.bits = uint64(d.varint())
		case FloatField:
			f.bits = d.u64()
		case TextField:
			f.text = d.text()
		case BoolField:
			f.bits = uint64(d.u8())
			d.bad = d.bad || f.bits > 1
		default:
			d.bad = true
		}
		p.Fields = append(p.Fields, f)
	}
	d.bad = d.bad || d.i-start > MaxPoint
}
