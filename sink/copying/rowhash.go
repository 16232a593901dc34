package copying

import (
	"encoding/binary"
	"math/bits"

	"pingline"
)

// RowSum is a count of rows, and the sum of a hash of each, mod 2^64: it does not depend on their
// order. The hash covers all that a store keeps of a row: identity, time and fields.
type RowSum struct{ Rows, Hash uint64 }

func (s *RowSum) add(hash uint64) { s.Rows, s.Hash = s.Rows+1, s.Hash+hash }

// rowHasher hashes rows. Its hashes are the same in every process, so that a sum can be kept.
type rowHasher struct{ buf []byte }

// Odd constants of wyhash, whose mixing of two words this is.
const (
	mixA = 0xa0761d6478bd642f
	mixB = 0xe7037ed1a0b428db
)

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// bytes hashes b and its length.
func hashBytes(h uint64, b []byte) uint64 {
	n := len(b)
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h^binary.LittleEndian.Uint64(b)^mixA, mixB^h>>32)
	}
	var rest [8]byte
	copy(rest[:], b)
	return mix(h^binary.LittleEndian.Uint64(rest[:])^mixB, mixA^uint64(n))
}

// row returns a hash of a row, and one of its series.
func (h *rowHasher) row(e *pingline.Entry, nano int64) (row, series uint64) {
	b := h.buf[:0]
	if e.Point != nil {
		b = append(b, e.Point.Name...)
		for _, t := range e.Point.Tags {
			b = append(append(append(append(b, 0), t.Key...), 0), t.Value...)
		}
		series = hashBytes(mixB, b)
		point := pingline.Entry{Kind: pingline.Self, Point: e.Point}
		b = pingline.AppendEntry(b[:0], &point, 0)
		h.buf = b
		return hashBytes(series, b), series
	}
	flags := byte(0)
	if e.Late {
		flags |= 1
	}
	if e.Corrected {
		flags |= 2
	}
	b = binary.LittleEndian.AppendUint64(b, e.Cell)
	b = append(b, flags)
	b = append(binary.LittleEndian.AppendUint16(b, uint16(len(e.Device))), e.Device...)
	b = append(b, e.Rider...)
	series = hashBytes(mixA, b)
	// In the log's form is all that an entry has, a field that is new included.
	b = pingline.AppendEntry(binary.LittleEndian.AppendUint64(b[:0], uint64(nano)), e, 0)
	h.buf = b
	return hashBytes(series, b), series
}
