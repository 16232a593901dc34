// Package record is the form in which the log stores an append: its number, the
// totals on both sides of it, and its payload, under a checksum.
//
// Bytes that were cut or changed are refused, never misread. Each version reads
// the forms of all earlier versions, and returns ErrNewer for a later form.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Totals are four running totals. The caller of Append keeps them; the log carries
// them with each record and does not know their meaning.
type Totals [4]uint64

// Sub returns how much t is beyond u, in each place.
func (t Totals) Sub(u Totals) Totals {
	for i := range t {
		t[i] -= u[i]
	}
	return t
}

// Record is an append. Its payload is never modified, so that a reader may
// keep it.
type Record struct {
	Number  uint64 // from 1, rising by 1 where no record is lost
	Before  Totals // before this record
	Totals  Totals // after this record
	Payload []byte
}

// A record is stored as, little endian:
//
//	u8  version (1)
//	u32 CRC-32C of all that follows
//	u64 number
//	u64 totals before it, four times
//	u64 totals after it, four times
//	payload
//
// It has its own number, because the sequence that JetStream gives it is not
// enough: see scan.Numbering. It has the totals on both sides, so that the
// neighbours of a gap tell how much was in it.
const (
	Version = 1                 // of the records that Encode writes
	Header  = 1 + 4 + 8 + 2*4*8 // bytes before the payload

	offsetSum    = 1
	offsetNumber = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	// ErrInvalid is wrapped by every refusal of bytes that are not a whole
	// record.
	ErrInvalid = errors.New("not a record")
	// ErrNewer is wrapped where a newer version has written the bytes.
	ErrNewer = errors.New("written by a newer version of Pingline: start that version")
)

// Encode returns the stored form of r and lets r.Payload share its memory.
func Encode(r *Record) []byte {
	b := make([]byte, Header, Header+len(r.Payload))
	b[0] = Version
	at := offsetNumber
	binary.LittleEndian.PutUint64(b[at:], r.Number)
	for _, t := range [...]*Totals{&r.Before, &r.Totals} {
		for _, v := range t {
			at += 8
			binary.LittleEndian.PutUint64(b[at:], v)
		}
	}
	b = append(b, r.Payload...)
	binary.LittleEndian.PutUint32(b[offsetSum:], crc32.Checksum(b[offsetNumber:], castagnoli))
	r.Payload = b[Header:]
	return b
}

// Decode returns the record stored as b, sharing its memory, or an error wrapping
// ErrInvalid, and ErrNewer if a newer version wrote it: in every version the first
// five bytes are the version and the checksum of all bytes behind them.
func Decode(b []byte) (Record, error) {
	if len(b) < Header {
		return Record{}, fmt.Errorf("%d bytes: %w", len(b), ErrInvalid)
	}
	sum := crc32.Checksum(b[offsetNumber:], castagnoli)
	if b[0] > Version && sum == binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("record of version %d, this program knows %d: %w: %w", b[0], Version, ErrInvalid, ErrNewer)
	}
	if b[0] != Version {
		return Record{}, fmt.Errorf("version %d, not %d: %w", b[0], Version, ErrInvalid)
	}
	if sum != binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("checksum %08x does not match: %w", sum, ErrInvalid)
	}
	r := Record{Number: binary.LittleEndian.Uint64(b[offsetNumber:]), Payload: b[Header:]}
	at := offsetNumber
	for _, t := range [...]*Totals{&r.Before, &r.Totals} {
		for i := range t {
			at += 8
			t[i] = binary.LittleEndian.Uint64(b[at:])
		}
	}
	if r.Number == 0 {
		return Record{}, fmt.Errorf("number 0: %w", ErrInvalid)
	}
	return r, nil
}
