// Package mark is a log's high-water mark: the number and the totals of the newest record
// that was ever acknowledged. By it a log that lost its tail knows which numbers are gone,
// and never gives them again.
//
// It is written in place after each append and not synced: a crash of the process never
// loses it, a power cut seldom does, and it only matters when a synced tail is lost as
// well.
package mark

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"pingline/queue/record"
)

// HighWater is an open mark. Of its two slots the older is overwritten, so that a torn
// write leaves the newer:
//
//	u64 number, u64 totals four times, u32 CRC-32C of both, zeros up to 64 bytes
//
// It is for one caller at a time.
type HighWater struct {
	f    *os.File
	slot int64 // the next slot to write
	buf  [markSlot]byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	markSlot = 64
	markSize = 8 + 4*8
)

// Open opens or creates the mark at path and returns its number and totals:
// number 0 if it has none.
func Open(path string) (m *HighWater, number uint64, t record.Totals, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, t, err
	}
	m = &HighWater{f: f}
	var b [2 * markSlot]byte
	n, _ := f.ReadAt(b[:], 0) // a slot that cannot be read is ignored
	for slot := range int64(2) {
		s := b[slot*markSlot : (slot+1)*markSlot]
		if n < int(slot+1)*markSlot || crc32.Checksum(s[:markSize], castagnoli) != binary.LittleEndian.Uint32(s[markSize:]) {
			continue
		}
		if v := binary.LittleEndian.Uint64(s); v > number {
			number, m.slot = v, 1-slot
			for i := range t {
				t[i] = binary.LittleEndian.Uint64(s[8+8*i:])
			}
		}
	}
	return m, number, t, nil
}

// Write replaces the mark.
func (m *HighWater) Write(number uint64, t *record.Totals) error {
	binary.LittleEndian.PutUint64(m.buf[:], number)
	for i, v := range t {
		binary.LittleEndian.PutUint64(m.buf[8+8*i:], v)
	}
	binary.LittleEndian.PutUint32(m.buf[markSize:], crc32.Checksum(m.buf[:markSize], castagnoli))
	if _, err := m.f.WriteAt(m.buf[:], m.slot*markSlot); err != nil {
		return fmt.Errorf("write high-water mark %d: %w", number, err)
	}
	m.slot = 1 - m.slot
	return nil
}

// Close closes the file.
func (m *HighWater) Close() error { return m.f.Close() }
