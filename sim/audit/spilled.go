package audit

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"

	"pingline"
)

// A record of a ping or point in a spill is, little endian:
//
//	u8  1 for a point, 0 for a ping
//	u8  length, rider; u8 length, device
//	i64 at; i32 lat; i32 lon; f32 bound; u32 answered; u16 event; u8 known; u8 verdict
//	f32 each known number
const spilledHead = 8 + 4 + 4 + 4 + 4 + 2 + 1 + 1

func appendSpilled(dst []byte, point bool, id trackID, r *auditRecord) []byte {
	kind := byte(0)
	if point {
		kind = 1
	}
	dst = append(dst, kind, byte(len(id.rider)))
	dst = append(append(dst, id.rider...), byte(len(id.device)))
	dst = append(dst, id.device...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.at))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.lat))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.lon))
	dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(r.bound))
	dst = binary.LittleEndian.AppendUint32(dst, r.answered)
	dst = binary.LittleEndian.AppendUint16(dst, r.event)
	dst = append(dst, byte(r.known), byte(r.verdict))
	for i, v := range r.numbers {
		if r.known&(1<<i) != 0 {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	}
	return dst
}

// spilledReader reads records of pings and points.
type spilledReader struct {
	in    *bufio.Reader
	id    []byte // rider, device of the record, behind each other
	rider int    // bytes of id that are the rider
	b     [spilledHead + 4*5]byte
}

// next reads a record; its track is in id.
func (s *spilledReader) next(r *auditRecord) (point bool, err error) {
	kind, err := s.in.ReadByte()
	if err != nil {
		return false, err
	}
	s.id = s.id[:0]
	if err := s.name(); err != nil {
		return false, err
	}
	s.rider = len(s.id)
	if err := s.name(); err != nil {
		return false, err
	}
	if _, err := io.ReadFull(s.in, s.b[:spilledHead]); err != nil {
		return false, err
	}
	le := binary.LittleEndian
	*r = auditRecord{
		at: int64(le.Uint64(s.b[:])), lat: int32(le.Uint32(s.b[8:])), lon: int32(le.Uint32(s.b[12:])),
		bound: math.Float32frombits(le.Uint32(s.b[16:])), answered: le.Uint32(s.b[20:]), event: le.Uint16(s.b[24:]),
		known: pingline.Known(s.b[26]), verdict: pingline.Verdict(s.b[27]),
	}
	for i := range r.numbers {
		if r.known&(1<<i) == 0 {
			continue
		}
		if _, err := io.ReadFull(s.in, s.b[:4]); err != nil {
			return false, err
		}
		r.numbers[i] = math.Float32frombits(le.Uint32(s.b[:]))
	}
	return kind == 1, nil
}

func (s *spilledReader) name() error {
	n, err := s.in.ReadByte()
	if err != nil {
		return err
	}
	at := len(s.id)
	s.id = append(s.id, make([]byte, n)...)
	_, err = io.ReadFull(s.in, s.id[at:])
	return err
}
