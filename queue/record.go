package queue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Totals are running totals that whoever appends keeps; the log carries them
// with each record and does not know what they count.
type Totals [4]uint64

// Sub returns how much t is beyond u, in each place.
func (t Totals) Sub(u Totals) Totals {
	for i := range t {
		t[i] -= u[i]
	}
	return t
}

// Record is one append. Its payload is never modified, so that a reader may
// keep it.
type Record struct {
	Number  uint64 // from 1, in steps of one where nothing is lost
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
// It says itself which number it is, because the sequence that JetStream gives
// it is not enough: see numbering. It carries the totals on both sides, so that
// the neighbours of a gap tell what was in it.
const (
	recordVersion = 1
	recordHeader  = 1 + 4 + 8 + 2*4*8

	offsetSum    = 1
	offsetNumber = 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errNotRecord is wrapped by every refusal of bytes that are no whole record.
var errNotRecord = errors.New("not a record")

// encodeRecord returns r's stored form and lets r.Payload share its memory.
func encodeRecord(r *Record) []byte {
	b := make([]byte, recordHeader, recordHeader+len(r.Payload))
	b[0] = recordVersion
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
	r.Payload = b[recordHeader:]
	return b
}

// decodeRecord returns the record stored as b, sharing its memory, or an error
// wrapping errNotRecord, and ErrNewer if a newer version wrote it: all versions begin with the version and the
// checksum of what is behind these five bytes.
func decodeRecord(b []byte) (Record, error) {
	if len(b) < recordHeader {
		return Record{}, fmt.Errorf("%d bytes: %w", len(b), errNotRecord)
	}
	sum := crc32.Checksum(b[offsetNumber:], castagnoli)
	if b[0] > recordVersion && sum == binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("record of version %d, this program knows %d: %w: %w", b[0], recordVersion, errNotRecord, ErrNewer)
	}
	if b[0] != recordVersion {
		return Record{}, fmt.Errorf("version %d, not %d: %w", b[0], recordVersion, errNotRecord)
	}
	if sum != binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("checksum %08x does not match: %w", sum, errNotRecord)
	}
	r := Record{Number: binary.LittleEndian.Uint64(b[offsetNumber:]), Payload: b[recordHeader:]}
	at := offsetNumber
	for _, t := range [...]*Totals{&r.Before, &r.Totals} {
		for i := range t {
			at += 8
			t[i] = binary.LittleEndian.Uint64(b[at:])
		}
	}
	if r.Number == 0 {
		return Record{}, fmt.Errorf("number 0: %w", errNotRecord)
	}
	return r, nil
}
