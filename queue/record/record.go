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
	Epoch   uint64 // of the owner that appended it, rising with each owner; 0 in a log that only one process can reach
	Trimmed uint64 // number before which that owner lets records go; 0 if Epoch is
	Before  Totals // before this record
	Totals  Totals // after this record
	Payload []byte
}

// A record is stored as, little endian:
//
//	u8  version: 1, or 2 with an epoch
//	u32 CRC-32C of all that follows
//	u64 number
//	u64 totals before it, four times
//	u64 totals after it, four times
//	u64 epoch, not 0       (version 2)
//	u64 trimmed            (version 2)
//	payload
//
// A record without an epoch is of version 1, so that a log in one process stays
// readable to earlier programs. It has its own number, because the sequence that JetStream gives it is not
// enough: see scan.Numbering. It has the totals on both sides, so that the
// neighbours of a gap tell how much was in it.
const (
	Version = 2 // the latest there is

	header      = 1 + 4 + 8 + 2*4*8 // bytes before the payload, version 1
	ownedHeader = header + 2*8      // version 2

	offsetSum    = 1
	offsetNumber = 5
)

// Header returns how many bytes come before the payload of a record of an epoch.
func Header(epoch uint64) int {
	if epoch == 0 {
		return header
	}
	return ownedHeader
}

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
	head := Header(r.Epoch)
	b := make([]byte, head, head+len(r.Payload))
	b[0] = 1
	if r.Epoch > 0 {
		b[0] = 2
		binary.LittleEndian.PutUint64(b[header:], r.Epoch)
		binary.LittleEndian.PutUint64(b[header+8:], r.Trimmed)
	}
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
	r.Payload = b[head:]
	return b
}

// Decode returns the record stored as b, sharing its memory, or an error wrapping
// ErrInvalid, and ErrNewer if a newer version wrote it: in every version the first
// five bytes are the version and the checksum of all bytes behind them.
func Decode(b []byte) (Record, error) {
	if len(b) < header {
		return Record{}, fmt.Errorf("%d bytes: %w", len(b), ErrInvalid)
	}
	sum := crc32.Checksum(b[offsetNumber:], castagnoli)
	if b[0] > Version && sum == binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("record of version %d, this program knows %d: %w: %w", b[0], Version, ErrInvalid, ErrNewer)
	}
	if b[0] == 0 || b[0] > Version {
		return Record{}, fmt.Errorf("version %d, not 1 to %d: %w", b[0], Version, ErrInvalid)
	}
	if sum != binary.LittleEndian.Uint32(b[offsetSum:]) {
		return Record{}, fmt.Errorf("checksum %08x does not match: %w", sum, ErrInvalid)
	}
	r := Record{Number: binary.LittleEndian.Uint64(b[offsetNumber:]), Payload: b[header:]}
	if b[0] == 2 {
		if len(b) < ownedHeader {
			return Record{}, fmt.Errorf("%d bytes: %w", len(b), ErrInvalid)
		}
		r.Epoch, r.Trimmed, r.Payload = binary.LittleEndian.Uint64(b[header:]), binary.LittleEndian.Uint64(b[header+8:]), b[ownedHeader:]
		if r.Epoch == 0 {
			return Record{}, fmt.Errorf("version 2 without an epoch: %w", ErrInvalid)
		}
	}
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
