package clickhouse

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"

	"pingline"
)

// A row is a ping, a point, or a ready line of an earlier version:
//
//	ping   0, flags, known, lengths of rider, device, trip and event (bytes) and of the
//	       attributes (2 bytes), ts, cell, nano, skipped, latitude, longitude (1e-7 degree),
//	       the numbers, the texts, the attributes as JSON
//	point  1, length (2 bytes), the entry as the log has it, of a commit at 0
//	line   2, length (2 bytes), its text
//
// Numbers are little endian. A row never leaves the process.
const (
	rowPing = iota
	rowPoint
	rowLine
)

// Flags of a ping.
const (
	flagLate = 1 << iota
	flagCorrected
)

// pingSize is the length of a ping without its texts.
const pingSize = 9 + 8 + 8 + 4 + 4 + 4 + 4 + 4*len(pingline.Numbers)

var errRow = errors.New("rows of another package")

func appendRow(dst []byte, e *pingline.Entry) []byte {
	switch {
	case e.IsLine():
		return append(appendHead(dst, rowLine, len(e.Line)), e.Line...)
	case e.Point != nil:
		at := len(dst)
		plain := pingline.Entry{Kind: pingline.Activity, Point: e.Point}
		dst = pingline.AppendEntry(appendHead(dst, rowPoint, 0), &plain, 0)
		binary.LittleEndian.PutUint16(dst[at+1:], uint16(len(dst)-at-3))
		return dst
	}
	flags := byte(0)
	if e.Late {
		flags |= flagLate
	}
	if e.Corrected {
		flags |= flagCorrected
	}
	at := len(dst)
	dst = append(dst, rowPing, flags, byte(e.Known), byte(len(e.Rider)), byte(len(e.Device)), byte(len(e.Trip)), byte(len(e.Event)), 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.At))
	dst = binary.LittleEndian.AppendUint64(dst, e.Cell)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.Nano()))
	dst = binary.LittleEndian.AppendUint32(dst, e.Skipped)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.LatE7))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(e.LonE7))
	for _, v := range e.Numbers() {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
	}
	dst = append(append(append(append(dst, e.Rider...), e.Device...), e.Trip...), e.Event...)
	if e.Attrs != "" {
		text := len(dst)
		dst = e.Attrs.AppendJSON(dst)
		binary.LittleEndian.PutUint16(dst[at+7:], uint16(len(dst)-text))
	}
	return dst
}

func appendHead(dst []byte, kind byte, n int) []byte {
	return binary.LittleEndian.AppendUint16(append(dst, kind), uint16(n))
}

// cutRow returns the first row of b without its head, and the rest.
func cutRow(b []byte) (kind byte, row, rest []byte, err error) {
	var head, n int
	switch {
	case b[0] == rowPing && len(b) >= pingSize:
		n = pingSize + int(b[3]) + int(b[4]) + int(b[5]) + int(b[6]) + int(binary.LittleEndian.Uint16(b[7:]))
	case b[0] != rowPing && b[0] <= rowLine && len(b) >= 3:
		head, n = 3, int(binary.LittleEndian.Uint16(b[1:]))
	default:
		return 0, nil, nil, errRow
	}
	if len(b) < head+n {
		return 0, nil, nil, errRow
	}
	return b[0], b[head : head+n], b[head+n:], nil
}

var seed = maphash.MakeSeed()

func hashOf(rows []byte) uint64 { return maphash.Bytes(seed, rows) }
