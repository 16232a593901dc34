package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"pingline"
)

// ackAnswer is the head of the pings of one answer.
type ackAnswer struct {
	at                    int64 // when it came, ms since 1970, by the clock of the sender
	pings                 int
	maxError, accuracyCap float32
}

// ackPing is a ping of a block.
type ackPing struct {
	at       int64
	lat, lon int32
	numbers  [5]float32
	track    uint32 // of the block's tracks
	event    uint32 // of the block's events, from 1 on; 0: none
	known    pingline.Known
	verdict  pingline.Verdict
}

// ackBlock is the pings of a block, before they are encoded or once they are decoded.
// A block can be read without those before it.
//
// Its plain form is a row of columns, so that like stands beside like, for the
// compressor:
//
//	uvarint number of answers, then of each:
//	    varint   ms since the answer before, or since 1970
//	    uvarint  pings
//	    f32      max_error, little endian
//	    f32      accuracy_cap
//	uvarint number of tracks, then of each:
//	    u8       length of the rider's id
//	    u8       length of the device's id
//	and, behind these, all ids one after the other: rider, device, rider, device, …
//	uvarint number of events, of each a u8 length; behind these, all names
//	a column of each ping's
//	    track    varint, the difference to that of the ping before
//	    ts       varint, the difference to that of the ping before
//	    lat      varint, 1e-7 degree: the difference to that of the track's ping before
//	             in this block or, if there is none, of the ping before
//	    lon      varint, likewise
//	    known    u8
//	    verdict  u8, 0 if no answer came
//	    event    uvarint, from 1 on; 0: none
//	and for each of the five numbers a column of the pings that know it:
//	    u8       places behind the decimal point, 0 to 4; 255: values are f32
//	    varint   of each the value in such units, less that of the track's ping before
//
// All varints but the uvarints are zigzag. Numbers are those of float32: a column has
// places only if each of its values comes back as the same bits.
type ackBlock struct {
	answers []ackAnswer
	tracks  []trackID
	events  []string
	pings   []ackPing

	last []ackPing // scratch: of each track, its ping before
	has  []bool
}

const (
	rawNumbers = 255
	mostPlaces = 4
	leastPing  = 7 // bytes that a ping takes at least
)

var powers = [mostPlaces + 1]float64{1, 10, 100, 1000, 10000}

func (b *ackBlock) reset() {
	b.answers, b.tracks, b.events, b.pings = b.answers[:0], b.tracks[:0], b.events[:0], b.pings[:0]
}

// before readies the scratch for another walk over the pings.
func (b *ackBlock) before() {
	if cap(b.last) < len(b.tracks) {
		b.last, b.has = make([]ackPing, len(b.tracks)), make([]bool, len(b.tracks))
	}
	b.last, b.has = b.last[:len(b.tracks)], b.has[:len(b.tracks)]
	clear(b.has)
}

// append appends the plain form of b.
func (b *ackBlock) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b.answers)))
	at := int64(0)
	for i := range b.answers {
		a := &b.answers[i]
		dst = binary.AppendVarint(dst, a.at-at)
		at = a.at
		dst = binary.AppendUvarint(dst, uint64(a.pings))
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(a.maxError))
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(a.accuracyCap))
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.tracks)))
	for i := range b.tracks {
		dst = append(dst, byte(len(b.tracks[i].rider)), byte(len(b.tracks[i].device)))
	}
	for i := range b.tracks {
		dst = append(append(dst, b.tracks[i].rider...), b.tracks[i].device...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.events)))
	for _, name := range b.events {
		dst = append(dst, byte(len(name)))
	}
	for _, name := range b.events {
		dst = append(dst, name...)
	}
	return b.appendPings(dst)
}

func (b *ackBlock) appendPings(dst []byte) []byte {
	track, at := uint32(0), int64(0)
	for i := range b.pings {
		dst = binary.AppendVarint(dst, int64(b.pings[i].track)-int64(track))
		track = b.pings[i].track
	}
	for i := range b.pings {
		dst = binary.AppendVarint(dst, b.pings[i].at-at)
		at = b.pings[i].at
	}
	for _, of := range [...]func(*ackPing) *int32{latOf, lonOf} {
		b.before()
		was := int32(0)
		for i := range b.pings {
			p := &b.pings[i]
			if b.has[p.track] {
				was = *of(&b.last[p.track])
			}
			dst = binary.AppendVarint(dst, int64(*of(p))-int64(was))
			was, b.last[p.track], b.has[p.track] = *of(p), *p, true
		}
	}
	for i := range b.pings {
		dst = append(dst, byte(b.pings[i].known))
	}
	for i := range b.pings {
		dst = append(dst, byte(b.pings[i].verdict))
	}
	for i := range b.pings {
		dst = binary.AppendUvarint(dst, uint64(b.pings[i].event))
	}
	for k := range b.numbers() {
		dst = b.appendNumber(dst, k)
	}
	return dst
}

func latOf(p *ackPing) *int32 { return &p.lat }
func lonOf(p *ackPing) *int32 { return &p.lon }

func (*ackBlock) numbers() int { return len(pingline.Numbers) }

// appendNumber appends the column of number k.
func (b *ackBlock) appendNumber(dst []byte, k int) []byte {
	places := b.places(k)
	dst = append(dst, byte(places))
	b.before()
	for i := range b.pings {
		p := &b.pings[i]
		if p.known&(1<<k) == 0 {
			continue
		}
		if places == rawNumbers {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(p.numbers[k]))
			continue
		}
		was := int64(0)
		if b.has[p.track] {
			was = inUnits(b.last[p.track].numbers[k], places)
		}
		dst = binary.AppendVarint(dst, inUnits(p.numbers[k], places)-was)
		b.last[p.track], b.has[p.track] = *p, true
	}
	return dst
}

// places returns how many decimal places are enough for number k of all pings.
func (b *ackBlock) places(k int) int {
	places := 0
	for i := range b.pings {
		if b.pings[i].known&(1<<k) == 0 {
			continue
		}
		v := b.pings[i].numbers[k]
		for math.Float32bits(fromUnits(inUnits(v, places), places)) != math.Float32bits(v) {
			if places++; places > mostPlaces {
				return rawNumbers
			}
		}
	}
	return places
}

// inUnits returns v in units of so many decimal places, 0 if that is no number that
// is worth it.
func inUnits(v float32, places int) int64 {
	u := math.Round(float64(v) * powers[places])
	if !(math.Abs(u) < 1<<40) {
		return 0
	}
	return int64(u)
}

func fromUnits(u int64, places int) float32 { return float32(float64(u) / powers[places]) }

// errAckBlock is wrapped by every refusal of a block's content.
var errAckBlock = errors.New("not the content of an ack log")

// ackDecoder takes values off the front of b; once bad, it gives zeros.
type ackDecoder struct {
	b   []byte
	bad bool
}

func (d *ackDecoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return make([]byte, min(max(n, 0), 8))
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *ackDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *ackDecoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *ackDecoder) f32() float32 {
	return math.Float32frombits(binary.LittleEndian.Uint32(d.take(4)))
}

// count reads how many things of at least size bytes follow.
func (d *ackDecoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.b, d.bad = nil, true
		return 0
	}
	return int(n)
}

// names reads n names, each of a length that lengths has, as parts of one string.
func (d *ackDecoder) names(lengths []byte, each func(name string)) {
	sum := 0
	for _, n := range lengths {
		sum += int(n)
	}
	if sum > len(d.b) {
		d.b, d.bad = nil, true
		return
	}
	text := string(d.take(sum))
	for _, n := range lengths {
		each(text[:n])
		text = text[n:]
	}
}

// decode reads the plain form into b; all of it must be there. The names are copies.
func (b *ackBlock) decode(plain []byte) error {
	b.reset()
	d := ackDecoder{b: plain}
	pings, at := 0, int64(0)
	for range d.count(10) {
		a := ackAnswer{at: at + d.varint(), pings: int(min(d.uvarint(), 1<<31)), maxError: d.f32(), accuracyCap: d.f32()}
		at = a.at
		if pings += a.pings; pings > len(plain)/leastPing {
			return fmt.Errorf("answers for %d pings in %d bytes: %w", pings, len(plain), errAckBlock)
		}
		b.answers = append(b.answers, a)
	}
	var rider string
	odd := false
	d.names(d.take(2*d.count(2)), func(name string) {
		if odd = !odd; odd {
			rider = name
		} else {
			b.tracks = append(b.tracks, trackID{rider, name})
		}
	})
	d.names(d.take(d.count(1)), func(name string) { b.events = append(b.events, name) })
	b.decodePings(&d, pings)
	if d.bad || len(d.b) > 0 {
		return fmt.Errorf("block of %d pings, %d bytes left over: %w", pings, len(d.b), errAckBlock)
	}
	return nil
}

func (b *ackBlock) decodePings(d *ackDecoder, n int) {
	if cap(b.pings) < n {
		b.pings = make([]ackPing, n)
	}
	b.pings = b.pings[:n]
	clear(b.pings)
	track, at := int64(0), int64(0)
	for i := range b.pings {
		track += d.varint()
		if track < 0 || track >= int64(len(b.tracks)) {
			d.b, d.bad = nil, true
			return
		}
		b.pings[i].track = uint32(track)
	}
	for i := range b.pings {
		at += d.varint()
		b.pings[i].at = at
	}
	for _, of := range [...]func(*ackPing) *int32{latOf, lonOf} {
		b.before()
		was := int32(0)
		for i := range b.pings {
			p := &b.pings[i]
			if b.has[p.track] {
				was = *of(&b.last[p.track])
			}
			*of(p) = int32(int64(was) + d.varint())
			was, b.last[p.track], b.has[p.track] = *of(p), *p, true
		}
	}
	for i, v := range d.take(n) {
		if i < n {
			b.pings[i].known = pingline.Known(v)
			d.bad = d.bad || v >= 1<<b.numbers()
		}
	}
	for i, v := range d.take(n) {
		if i < n {
			b.pings[i].verdict = pingline.Verdict(v)
			d.bad = d.bad || int(v) >= pingline.Verdicts
		}
	}
	for i := range b.pings {
		event := d.uvarint()
		b.pings[i].event = uint32(event)
		d.bad = d.bad || event > uint64(len(b.events))
	}
	for k := range b.numbers() {
		b.decodeNumber(d, k)
	}
}

func (b *ackBlock) decodeNumber(d *ackDecoder, k int) {
	places := int(d.take(1)[0])
	if places > mostPlaces && places != rawNumbers {
		d.b, d.bad = nil, true
		return
	}
	b.before()
	for i := range b.pings {
		p := &b.pings[i]
		if p.known&(1<<k) == 0 {
			continue
		}
		if places == rawNumbers {
			p.numbers[k] = d.f32()
			continue
		}
		was := int64(0)
		if b.has[p.track] {
			was = inUnits(b.last[p.track].numbers[k], places)
		}
		p.numbers[k] = fromUnits(was+d.varint(), places)
		b.last[p.track], b.has[p.track] = *p, true
	}
}
