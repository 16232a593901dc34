package kafka

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"pingline"
	"pingline/internal/pingproto"
	"pingline/sink/store"
)

// A row is a message, ready to be sent:
//
//	kind    byte   index of its topic in suffixes, or one of rowLine and rowLarge
//	verdict byte   of a ping; 0 of a point
//	id      16 bytes
//	key     length, 2 bytes
//	value   length, 2 bytes
//
// and then key and value. Numbers are big endian. A row never leaves the process.
const rowHead = 1 + 1 + idSize + 2 + 2

// The kinds of rows that have a topic, and the endings of its name.
const (
	kindLocation = iota
	kindEvent
	kindActivity
	kindSelf

	kinds
	rowLine  = 'l' // a ready line of an earlier version
	rowLarge = 'b' // a point whose text is too long for a row
)

var suffixes = [kinds]string{"", ".event", ".activity", ".self"}

// longestSuffix is the length of the longest of suffixes.
const longestSuffix = len(".activity")

// idSize is how much of a SHA-256 tells rows apart, in bytes.
const idSize = 16

var errRow = errors.New("rows of another package")

// appendRow appends e as a row, whose value is Protobuf or JSON.
func appendRow(dst []byte, e *pingline.Entry, protobuf bool) []byte {
	start := len(dst)
	switch {
	case e.IsLine():
		return appendHead(dst, rowLine, 0, [idSize]byte{})
	case e.Point != nil:
		kind := byte(kindActivity)
		if e.Kind == pingline.Self {
			kind = kindSelf
		}
		dst = appendSeries(appendHead(dst, kind, 0, idOfPoint(e.Point)), e.Point)
		binary.BigEndian.PutUint16(dst[start+2+idSize:], uint16(len(dst)-start-rowHead))
		value := len(dst)
		if protobuf {
			dst = pingproto.AppendPoint(dst, e.Point)
		} else {
			dst = appendPoint(dst, e.Point)
		}
		if len(dst)-start > store.MaxRow {
			return appendHead(dst[:start], rowLarge, 0, [idSize]byte{})
		}
		binary.BigEndian.PutUint16(dst[start+4+idSize:], uint16(len(dst)-value))
		return dst
	}
	kind := byte(kindLocation)
	if e.Event != "" {
		kind = kindEvent
	}
	dst = append(appendHead(dst, kind, byte(pingline.Accepted), idOfPing(e)), e.Rider...)
	binary.BigEndian.PutUint16(dst[start+2+idSize:], uint16(len(e.Rider)))
	value := len(dst)
	if protobuf {
		dst = pingproto.AppendPing(dst, e)
	} else {
		dst = appendPing(dst, e)
	}
	binary.BigEndian.PutUint16(dst[start+4+idSize:], uint16(len(dst)-value))
	return dst
}

func appendHead(dst []byte, kind, verdict byte, id [idSize]byte) []byte {
	return append(append(append(dst, kind, verdict), id[:]...), 0, 0, 0, 0)
}

// cutRow is a row without its lengths.
type cutRow struct {
	kind, verdict  byte
	id, key, value []byte
}

// size returns how many bytes key and value have.
func (r *cutRow) size() int { return len(r.key) + len(r.value) }

// next returns the first of rows, and the rest.
func next(rows []byte) (r cutRow, rest []byte, err error) {
	if len(rows) < rowHead {
		return r, nil, errRow
	}
	key := rowHead + int(binary.BigEndian.Uint16(rows[2+idSize:]))
	end := key + int(binary.BigEndian.Uint16(rows[4+idSize:]))
	if end > len(rows) {
		return r, nil, errRow
	}
	return cutRow{rows[0], rows[1], rows[2 : 2+idSize], rows[rowHead:key], rows[key:end]}, rows[end:], nil
}

// idOfPing hashes the fields by which package store tells pings apart.
func idOfPing(e *pingline.Entry) (id [idSize]byte) {
	var room [2*pingline.MaxID + 64]byte
	b := append(room[:0], 'p', 0)
	if e.Late {
		b[1] |= 1
	}
	if e.Corrected {
		b[1] |= 2
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.At))
	b = binary.BigEndian.AppendUint64(b, e.Cell)
	b = binary.BigEndian.AppendUint32(b, uint32(e.Nano()))
	b = append(append(b, byte(len(e.Rider))), e.Rider...)
	b = append(b, e.Device...)
	sum := sha256.Sum256(b)
	return [idSize]byte(sum[:])
}

// idOfPoint hashes name, tags and time of a point.
func idOfPoint(p *pingline.Point) [idSize]byte {
	b := binary.BigEndian.AppendUint64([]byte{'q'}, uint64(p.At))
	text := func(s string) { b = append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...) }
	text(p.Name)
	for i := range p.Tags {
		text(p.Tags[i].Key)
		text(p.Tags[i].Value)
	}
	sum := sha256.Sum256(b)
	return [idSize]byte(sum[:])
}

// appendSeries appends name and tags, which are the key of a point's message.
func appendSeries(dst []byte, p *pingline.Point) []byte {
	dst = append(dst, p.Name...)
	for i := range p.Tags {
		dst = append(append(append(append(dst, ','), p.Tags[i].Key...), '='), p.Tags[i].Value...)
	}
	return dst
}
