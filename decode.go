package pingline

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// Entries reads the entries of a commit in order.
type Entries struct {
	d    decoder
	at   int64
	left uint32
}

// DecodeCommit returns a commit's header and its entries. The header's and the
// entries' strings share b's memory: b must not change while they are in use.
// It returns an error wrapping ErrCorrupt, or ErrNewer.
func DecodeCommit(b []byte) (CommitHeader, Entries, error) {
	if len(b) < commitHeaderSize {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of %d bytes: %w", len(b), ErrCorrupt)
	}
	if b[0] > newestVersion {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of version %d, this program knows %d to %d: %w", b[0], oldestVersion, newestVersion, ErrNewer)
	}
	if b[0] < oldestVersion {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of version %d, not in [%d, %d]: %w", b[0], oldestVersion, newestVersion, ErrCorrupt)
	}
	h := CommitHeader{
		Entries:     binary.LittleEndian.Uint32(b[1:]),
		At:          int64(binary.LittleEndian.Uint64(b[5:])),
		MaxError:    math.Float32frombits(binary.LittleEndian.Uint32(b[13:])),
		AccuracyCap: math.Float32frombits(binary.LittleEndian.Uint32(b[17:])),
	}
	d := decoder{b: b, i: commitHeaderSize - 1, sub: math.MaxUint16}
	if b[0] >= correctedVersion {
		d.sub |= corrected
	}
	if b[0] >= attrsVersion {
		d.sub |= withAttrs
	}
	h.Node = d.name()
	if d.bad {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit header: %w", ErrCorrupt)
	}
	if uint64(h.Entries)*minEntrySize > uint64(d.left()) {
		return CommitHeader{}, Entries{}, fmt.Errorf("commit of %d entries in %d bytes: %w", h.Entries, d.left(), ErrCorrupt)
	}
	return h, Entries{d: d, at: h.At, left: h.Entries}, nil
}

// Len returns how many entries are left. It is never more than the commit's
// bytes have room for.
func (r *Entries) Len() int { return int(r.left) }

// Next decodes the next entry into e and reports whether there was one. After
// the last it returns false and nil, or an error wrapping ErrCorrupt if bytes
// are left over.
func (r *Entries) Next(e *Entry) (bool, error) {
	if r.left == 0 {
		return false, r.end()
	}
	r.d.entry(e, r.at)
	if r.d.bad {
		return false, fmt.Errorf("entry, %d before the end: %w", r.left, ErrCorrupt)
	}
	r.left--
	return true, nil
}

// PassUnstored passes over pings that are not to be stored, up to an entry that is or may
// be. It looks for no more of them than where they end, so it may pass damage.
func (r *Entries) PassUnstored() {
	for r.left > 0 && r.d.skip() {
		r.left--
	}
}

func (r *Entries) end() error {
	if r.d.left() != 0 {
		return fmt.Errorf("%d bytes behind the last entry: %w", r.d.left(), ErrCorrupt)
	}
	return nil
}

// Offset returns where in the commit the next entry begins.
func (r *Entries) Offset() int { return r.d.i }

// DecodeEntry decodes the entry at the start of b, of a commit with that At, and
// returns its length in bytes; it ignores the bytes behind it. The entry's strings
// share b's memory. An error wraps ErrCorrupt.
func DecodeEntry(e *Entry, b []byte, at int64) (n int, err error) {
	d := decoder{b: b, sub: withAttrs | corrected | math.MaxUint16}
	d.entry(e, at)
	if d.bad {
		return 0, fmt.Errorf("entry in %d bytes: %w", len(b), ErrCorrupt)
	}
	return d.i, nil
}

// decoder reads values from b, the next at i; once bad, it returns zeros.
type decoder struct {
	b   []byte
	i   int
	sub uint64 // largest sub-key of the commit's version
	bad bool
}

// left returns how many bytes are not read yet.
func (d *decoder) left() int { return len(d.b) - d.i }

// fail makes d bad.
func (d *decoder) fail() { d.b, d.i, d.bad = nil, 0, true }

func (d *decoder) u8() byte {
	if d.i >= len(d.b) {
		d.fail()
		return 0
	}
	v := d.b[d.i]
	d.i++
	return v
}

func (d *decoder) u32() uint32 {
	if d.left() < 4 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(d.b[d.i:])
	d.i += 4
	return v
}

func (d *decoder) u64() uint64 {
	if d.left() < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b[d.i:])
	d.i += 8
	return v
}

func (d *decoder) uvarint() uint64 {
	if d.i < len(d.b) && d.b[d.i] < 0x80 {
		v := d.b[d.i]
		d.i++
		return uint64(v)
	}
	return d.longUvarint()
}

// longUvarint reads a varint of any length; one of up to 8 bytes, with as many behind its
// start, as a word.
func (d *decoder) longUvarint() uint64 {
	var v uint64
	n := 0
	if d.left() >= 8 {
		x := binary.LittleEndian.Uint64(d.b[d.i:])
		if last := ^x & 0x8080808080808080; last != 0 {
			x &= last ^ (last - 1) // the byte that ends it, and those before
			n = bits.TrailingZeros64(last)/8 + 1
			x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1
			x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2
			v = x&0x000000000fffffff | x&0x0fffffff00000000>>4
		}
	}
	if n == 0 {
		v, n = binary.Uvarint(d.b[d.i:])
	}
	if n <= 0 || n > 1 && d.b[d.i+n-1] == 0 { // cut off, too large, or longer than need be
		d.fail()
		return 0
	}
	d.i += n
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) cell() uint64 {
	p := d.longUvarint()
	if p == unpackable {
		c := d.u64()
		d.bad = d.bad || c == 0 || packCell(c) != unpackable
		return c
	}
	d.bad = d.bad || !packed(p)
	return unpackCell(p)
}

func (d *decoder) name() string { return d.str(uint64(d.u8())) }
func (d *decoder) text() string { return d.str(d.uvarint()) }

func (d *decoder) str(n uint64) string {
	if n > uint64(d.left()) {
		d.fail()
		return ""
	}
	if n == 0 {
		return ""
	}
	s := unsafe.String(&d.b[d.i], int(n))
	d.i += int(n)
	return s
}

func (d *decoder) entry(e *Entry, at int64) {
	*e = Entry{spare: e.spare}
	flags := d.u8()
	if flags&3 == 0 {
		d.notPing(e, flags>>2, at)
		return
	}
	more := d.u8()
	e.State = d.u8()
	e.Verdict = Verdict(flags & 3)
	e.Promoted, e.Late, e.Apart = flags&flagPromoted != 0, flags&flagLate != 0, more&flagApart != 0
	if more&flagReplayed != 0 {
		e.Kind, e.To = Replayed, d.name()
	}
	e.Rider = d.name()
	if flags&flagNames != 0 {
		for _, s := range [...]struct {
			flag byte
			dst  *string
		}{{flagDevice, &e.Device}, {flagEvent, &e.Event}, {flagTrip, &e.Trip}} {
			if flags&s.flag != 0 {
				*s.dst = d.name()
				d.bad = d.bad || *s.dst == ""
			}
		}
	}
	e.At = at - d.varint()
	place := d.u64()
	e.LatE7, e.LonE7 = int32(place), int32(place>>32)
	e.Known = Known(more & knownMask)
	values := e.Numbers()
	for k := uint8(e.Known); k != 0; k &= k - 1 {
		values[bits.TrailingZeros8(k)] = math.Float32frombits(d.u32())
	}
	if more&flagCell != 0 {
		e.Cell = d.cell()
	}
	if flags&flagExtra != 0 {
		sub, skipped := d.uvarint(), d.uvarint()
		d.bad = d.bad || sub > d.sub || skipped > math.MaxUint32 || sub|skipped == 0
		e.SubKey, e.Skipped, e.Corrected = uint16(sub), uint32(skipped), sub&corrected != 0
		if sub&withAttrs != 0 {
			e.Attrs = Attrs(d.text())
			d.bad = d.bad || !e.Attrs.wellFormed()
		}
	}
	d.bad = d.bad || e.Rider == ""
}

// skip passes over a judged ping that is not to be stored, and reports whether there was
// one. Damage is left to entry.
func (d *decoder) skip() bool {
	b := d.b[d.i:]
	if len(b) < minPingSize || b[1]&flagReplayed != 0 {
		return false
	}
	flags, more := b[0], b[1]
	if v := Verdict(flags & 3); v != Held && v != Redundant {
		return false
	}
	i := 3
	for n := 1 + bits.OnesCount8(flags&flagNames); n > 0 && i < len(b); n-- {
		i += 1 + int(b[i])
	}
	i = behindVarint(b, i) + 8 + 4*bits.OnesCount8(more&knownMask)
	if more&flagCell != 0 {
		if i < len(b) && b[i] == unpackable {
			i += 1 + 8
		} else {
			i = behindVarint(b, i)
		}
	}
	if flags&flagExtra != 0 {
		i = behindExtra(b, i)
	}
	if i > len(b) {
		return false
	}
	d.i += i
	return true
}

// behindExtra returns where the sub-key at b[i:] and all behind it ends, or more than b's
// length.
func behindExtra(b []byte, i int) int {
	if i >= len(b) {
		return len(b) + 1
	}
	sub, _ := binary.Uvarint(b[i:])
	i = behindVarint(b, behindVarint(b, i))
	if sub&withAttrs == 0 || i >= len(b) {
		return i
	}
	length, _ := binary.Uvarint(b[i:])
	return behindVarint(b, i) + int(min(length, uint64(len(b))))
}

// behindVarint returns where the varint at b[i:] ends, or more than b's length.
func behindVarint(b []byte, i int) int {
	for ; i < len(b); i++ {
		if b[i] < 0x80 {
			return i + 1
		}
	}
	return i + 1
}

// notPing decodes a point or a ready line, behind its first byte.
func (d *decoder) notPing(e *Entry, kind byte, at int64) {
	e.To = d.name()
	switch {
	case kind >= byte(Replayed) && kind < lineKinds:
		e.Kind = EntryKind(kind)
		e.Line = d.text()
		d.bad = d.bad || e.Line == "" || len(e.Line) > MaxReadyLine
	case kind == byte(Activity+pointKinds), kind == byte(Self+pointKinds):
		e.Kind = EntryKind(kind - pointKinds)
		if e.spare == nil {
			e.spare = new(Point)
		}
		e.Point = e.spare
		d.point(e.Point, at)
	default:
		d.fail()
	}
}
