package cassandra

import (
	"encoding/binary"
	"errors"
	"math"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
)

// A row is a ping, a point, or a ready line of an earlier version:
//
//	kind (1 byte), length of the rest (2 bytes), and of a ping or point the values of all
//	columns of its table in order, each a length (2 bytes, 0xffff: not set) and a value as
//	CQL has it; of a line its text
//
// Numbers are big endian. A row never leaves the process.
const (
	rowPing = iota
	rowPoint
	rowLine
	rowLarge // a point that no row can hold
)

// Lengths of values that are none. A value that is not set is left as it is; a null deletes
// it, by a tombstone.
const (
	notSet = math.MaxUint16
	isNull = notSet - 1
)

const rowHead = 3

const (
	milliPerHour = 3_600_000
	milliPerDay  = 24 * milliPerHour
)

var errForeignRow = errors.New("rows of another package")

// appendRow appends e as a row.
func appendRow(dst []byte, e *pingline.Entry) []byte {
	at := len(dst)
	switch {
	case e.IsLine():
		dst = append(append(dst, rowLine, 0, 0), e.Line...)
	case e.Point != nil:
		dst = appendPoint(append(dst, rowPoint, 0, 0), e.Point)
		if len(dst)-at > maxPoint {
			dst = append(dst[:at], rowLarge, 0, 0)
		}
	default:
		dst = appendPing(append(dst, rowPing, 0, 0), e)
	}
	binary.BigEndian.PutUint16(dst[at+1:], uint16(len(dst)-at-rowHead))
	return dst
}

// Bits of the column known, beside those of pingline.Known. Without its bit a column means
// nothing, whatever an earlier row of the same key has left there.
const (
	knowsEvent = 1 << (len(pingline.Numbers) + iota)
	knowsTrip
	knowsAttrs
)

// appendPing appends the values of the columns of the table of pings.
func appendPing(dst []byte, e *pingline.Entry) []byte {
	dst = appendString(dst, e.Rider)
	dst = append32(dst, dateOf(e.At))
	dst = append64(dst, uint64(e.At))
	dst = append32(dst, uint32(e.Nano()))
	dst = appendString(dst, e.Device)
	dst = append64(dst, e.Cell)
	dst = appendFlag(dst, e.Late)
	dst = appendFlag(dst, e.Corrected)
	dst = append64(dst, math.Float64bits(e.Lat()))
	dst = append64(dst, math.Float64bits(e.Lon()))
	known := uint16(e.Known)
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) == 0 {
			dst = append(dst, 0xff, 0xff)
			continue
		}
		dst = append32(dst, math.Float32bits(v))
	}
	for i, s := range [...]string{e.Event, e.Trip} {
		if s == "" {
			dst = append(dst, 0xff, 0xff)
			continue
		}
		known |= knowsEvent << i
		dst = appendString(dst, s)
	}
	dst = append32(dst, e.Skipped)
	if e.Attrs == "" {
		return append(dst, 0, 2, byte(known>>8), byte(known), 0xff, 0xff)
	}
	known |= knowsAttrs
	dst = append(dst, 0, 2, byte(known>>8), byte(known), 0, 0)
	text := len(dst)
	dst = e.Attrs.AppendJSON(dst)
	binary.BigEndian.PutUint16(dst[text-2:], uint16(len(dst)-text))
	return dst
}

// Places of columns in a row of pings.
const (
	pingRider = iota
	pingDay
	pingTS
	pingNano
	pingDevice
	pingCell
	pingLate
	pingCorrected
	pingLat
	pingLon
	pingNumbers
	pingEvent   = pingNumbers + len(pingline.Numbers)
	pingTrip    = pingEvent + 1
	pingSkipped = pingTrip + 1
	pingKnown   = pingSkipped + 1
	pingAttrs   = pingKnown + 1 // the last: a table of before has not got it
	pingColumns = pingAttrs + 1

	pingKeys = pingLat // the columns before are the key
)

// Places of columns in a row of points.
const (
	pointName = iota
	pointHour
	pointBucket
	pointAt
	pointTags
	pointInts
	pointFloats
	pointTexts
	pointBools
	pointColumns

	pointKeys = pointInts
)

const (
	partitionPing  = 2 // columns: rider, day
	partitionPoint = 3 // columns: name, hour, bucket

	// pointBuckets spreads the points of a name and an hour over partitions.
	pointBuckets = 16

	// maxPoint bounds a row of a point.
	maxPoint = pingline.MaxReadyLine
)

// appendPoint appends the values of the columns of the table of points.
func appendPoint(dst []byte, p *pingline.Point) []byte {
	dst = appendString(dst, p.Name)
	dst = append64(dst, uint64(floorTo(p.At, milliPerHour)))
	bucket := len(dst)
	dst = append32(dst, 0)
	dst = append64(dst, uint64(p.At))
	tags := len(dst)
	dst = appendMap(dst, len(p.Tags), func(i int) (string, bool) { return p.Tags[i].Key, true },
		func(dst []byte, i int) []byte { return appendLong(dst, p.Tags[i].Value) })
	binary.BigEndian.PutUint32(dst[bucket+2:], fnv32(dst[tags:])%pointBuckets)
	for _, of := range [...]pingline.FieldType{pingline.IntField, pingline.FloatField, pingline.TextField, pingline.BoolField} {
		dst = appendMap(dst, len(p.Fields), func(i int) (string, bool) { return p.Fields[i].Key, p.Fields[i].Type == of },
			func(dst []byte, i int) []byte { return appendFieldValue(dst, &p.Fields[i]) })
	}
	return dst
}

func appendFieldValue(dst []byte, f *pingline.PointField) []byte {
	switch f.Type {
	case pingline.IntField:
		return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(f.Int()))
	case pingline.FloatField:
		return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), math.Float64bits(f.Float()))
	case pingline.TextField:
		return appendLong(dst, f.Text())
	}
	return append(dst, 0, 0, 0, 1, flagByte(f.Bool()))
}

// appendMap appends a map of those of n keys that are picked. An empty one is a value, too:
// it takes the place of what an earlier row of the same key has had.
func appendMap(dst []byte, n int, key func(i int) (k string, picked bool), value func(dst []byte, i int) []byte) []byte {
	at, count := len(dst), uint32(0)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	for i := range n {
		k, picked := key(i)
		if !picked {
			continue
		}
		count++
		dst = value(appendLong(dst, k), i)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(min(len(dst)-at-2, isNull-1)))
	binary.BigEndian.PutUint32(dst[at+2:], count)
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendLong(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

func append32(dst []byte, v uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, 0, 4), v)
}

func append64(dst []byte, v uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0, 8), v)
}

func appendFlag(dst []byte, v bool) []byte { return append(dst, 0, 1, flagByte(v)) }

func flagByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// floorTo returns the multiple of unit at or before ms.
func floorTo(ms, unit int64) int64 {
	if rest := ms % unit; rest < 0 {
		return ms - rest - unit
	} else {
		return ms - rest
	}
}

// dateOf returns the day of an instant, ms, UTC, as CQL's type date has it: days since 1970,
// with 1970-01-01 in the middle of its range.
func dateOf(ms int64) uint32 { return uint32(floorTo(ms, milliPerDay)/milliPerDay + 1<<31) }

func dateValue(ms int64) *cqlValue {
	v := cqlValue(binary.BigEndian.AppendUint32(nil, dateOf(ms)))
	return &v
}

func fnv32(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// cqlValue is a value of a column, as CQL has it; nil is none.
type cqlValue []byte

// MarshalCQL is that of gocql.Marshaler.
func (v *cqlValue) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return *v, nil }

// UnmarshalCQL is that of gocql.Unmarshaler. The bytes are valid until the next row.
func (v *cqlValue) UnmarshalCQL(_ gocql.TypeInfo, b []byte) error {
	*v = b
	return nil
}

// cutRow returns the first row of b without its head, and the rest.
func cutRow(b []byte) (kind byte, row, rest []byte, err error) {
	if len(b) < rowHead || b[0] > rowLarge {
		return 0, nil, nil, errForeignRow
	}
	n := rowHead + int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < n {
		return 0, nil, nil, errForeignRow
	}
	return b[0], b[rowHead:n], b[n:], nil
}

// head returns the first n values of a row, which tell rows or partitions apart, and what
// follows.
func head(row []byte, n int) (front, rest []byte, err error) {
	at := 0
	for range n {
		if len(row) < at+2 {
			return nil, nil, errForeignRow
		}
		size := int(binary.BigEndian.Uint16(row[at:]))
		if at += 2; size < isNull {
			at += size
		}
		if len(row) < at {
			return nil, nil, errForeignRow
		}
	}
	return row[:at], row[at:], nil
}

// values sets to the arguments of an INSERT of all columns.
func values(row []byte, cells []cqlValue, args []any) error {
	for i := range cells {
		if len(row) < 2 {
			return errForeignRow
		}
		size := int(binary.BigEndian.Uint16(row))
		if row = row[2:]; size == notSet {
			cells[i], args[i] = nil, gocql.UnsetValue
			continue
		}
		args[i] = &cells[i]
		if size == isNull {
			cells[i] = nil
			continue
		}
		if len(row) < size {
			return errForeignRow
		}
		cells[i] = row[:size:size]
		row = row[size:]
	}
	return nil
}
