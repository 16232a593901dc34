package postgres

import (
	"encoding/binary"
	"io"
	"math"
	"strconv"

	"pingline"
	"pingline/sink/store"
)

// A row is a head and the columns of the binary form of COPY:
//
//	kind  byte   one of rowPing…
//	day   int32  days since 1970 of the row's time
//	size  uint16 bytes of the columns
//	extra uint16 bytes of the last column, if a table of before has not got it
//
// All numbers are big endian. Columns are as
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4.6 has them,
// without the count that goes before a tuple: the staging table has one column more.
const rowHead = 1 + 4 + 2 + 2

// Kinds of rows.
const (
	rowPing    = 'p'
	rowPoint   = 'q'
	rowLine    = 'l' // a ready line of an earlier version
	rowLarge   = 'b' // point whose text is too long for a row
	rowOutside = 'o' // its time is none that PostgreSQL and a ns count can both express
)

const (
	epoch     = 946_684_800_000 // ms since 1970 of PostgreSQL's year 2000
	lastMilli = math.MaxInt64/pingline.NanosPerMilli - 1
	dayMilli  = 24 * 60 * 60 * 1000
)

// appendRow appends e as a row.
func appendRow(dst []byte, e *pingline.Entry) []byte {
	start := len(dst)
	at, ok := e.StoredAt()
	outside := at < -lastMilli || at > lastMilli
	switch {
	case e.IsLine():
		if !ok || outside {
			at = 0
		}
		dst = append(appendHead(dst, rowLine, at), e.Line...)
	case outside:
		return appendHead(dst, rowOutside, 0)
	case e.Point != nil:
		if dst = appendPoint(appendHead(dst, rowPoint, at), e.Point); len(dst)-start > store.MaxRow {
			return appendHead(dst[:start], rowLarge, at)
		}
	default:
		dst = appendPing(appendHead(dst, rowPing, at), e)
		last := len(dst)
		dst = appendAttrs(dst, e.Attrs)
		binary.BigEndian.PutUint16(dst[start+7:], uint16(len(dst)-last))
	}
	binary.BigEndian.PutUint16(dst[start+5:], uint16(len(dst)-start-rowHead))
	return dst
}

func appendHead(dst []byte, kind byte, at int64) []byte {
	return append(binary.BigEndian.AppendUint32(append(dst, kind), uint32(dayOf(at))), 0, 0, 0, 0)
}

// dayOf returns the day of a time, ms, in days since 1970.
func dayOf(at int64) int32 {
	n := at / dayMilli
	if at%dayMilli < 0 {
		n--
	}
	return int32(n)
}

// appendPing appends the columns of pingTable but the last, in their order.
func appendPing(dst []byte, e *pingline.Entry) []byte {
	dst = appendText(dst, e.Rider)
	dst = appendInt64(dst, (e.At-epoch)*1000)
	dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), uint32(e.Nano()))
	dst = appendText(dst, e.Device)
	dst = appendInt64(dst, int64(e.Cell))
	dst = appendBool(dst, e.Late)
	dst = appendBool(dst, e.Corrected)
	dst = appendInt64(dst, int64(math.Float64bits(e.Lat())))
	dst = appendInt64(dst, int64(math.Float64bits(e.Lon())))
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) == 0 {
			dst = appendNull(dst)
			continue
		}
		dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), math.Float32bits(v))
	}
	for _, s := range [...]string{e.Event, e.Trip} {
		if s == "" {
			dst = appendNull(dst)
			continue
		}
		dst = appendText(dst, s)
	}
	return appendInt64(dst, int64(e.Skipped))
}

// appendAttrs appends attributes as a jsonb column, NULL if there are none.
func appendAttrs(dst []byte, a pingline.Attrs) []byte {
	if a == "" {
		return appendNull(dst)
	}
	start := len(dst)
	dst = a.AppendJSON(append(dst, 0, 0, 0, 0, jsonbForm))
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// jsonbForm is the version of the binary form of jsonb, in front of its text.
const jsonbForm = 1

// appendPoint appends the columns of pointColumns, in their order.
func appendPoint(dst []byte, p *pingline.Point) []byte {
	dst = appendText(dst, p.Name)
	dst = appendInt64(dst, (p.At-epoch)*1000)
	dst = appendObject(dst, func(dst []byte) []byte {
		for i := range p.Tags {
			dst = append(appendJSON(appendComma(dst, i), p.Tags[i].Key), ':')
			dst = appendJSON(dst, p.Tags[i].Value)
		}
		return dst
	})
	return appendObject(dst, func(dst []byte) []byte {
		for i := range p.Fields {
			dst = append(appendJSON(appendComma(dst, i), p.Fields[i].Key), ':')
			dst = appendValue(dst, &p.Fields[i])
		}
		return dst
	})
}

// appendObject appends a jsonb column: its length, the version of its form, and text.
func appendObject(dst []byte, members func([]byte) []byte) []byte {
	start := len(dst)
	dst = append(members(append(dst, 0, 0, 0, 0, jsonbForm, '{')), '}')
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}

// appendValue appends a number with a point or an exponent if it is a float, so that its
// type is seen when it is read: jsonb keeps the zeros behind a point. jsonb knows no -0.
func appendValue(dst []byte, f *pingline.PointField) []byte {
	switch f.Type {
	case pingline.IntField:
		return strconv.AppendInt(dst, f.Int(), 10)
	case pingline.FloatField:
		const whole = 1 << 63 // from here on no integer is meant, and the digits would be many
		v := f.Float()
		if v == math.Trunc(v) && math.Abs(v) < whole {
			return append(strconv.AppendFloat(dst, v, 'f', -1, 64), ".0"...)
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case pingline.BoolField:
		return strconv.AppendBool(dst, f.Bool())
	}
	return appendJSON(dst, f.Text())
}

// appendJSON appends a string as JSON has it.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

func appendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, 0, 0, 0, 8), uint64(v))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 0, 0, 0, 1, 1)
	}
	return append(dst, 0, 0, 0, 1, 0)
}

func appendNull(dst []byte) []byte { return append(dst, 0xff, 0xff, 0xff, 0xff) }

// cutRow returns the head and the columns of the first of rows, and the rest. ok is false
// behind the last row.
func cutRow(rows []byte) (kind byte, day int32, columns, rest []byte, ok bool) {
	if len(rows) < rowHead {
		return 0, 0, nil, nil, false
	}
	end := rowHead + int(binary.BigEndian.Uint16(rows[5:]))
	if end > len(rows) {
		return 0, 0, nil, nil, false
	}
	return rows[0], int32(binary.BigEndian.Uint32(rows[1:])), rows[rowHead:end], rows[end:], true
}

// extra returns the bytes of the last column of the first of rows, if it may be left out.
func extra(rows []byte) int { return int(binary.BigEndian.Uint16(rows[7:])) }

// copyHead begins the binary form of COPY, and copyEnd ends it.
var (
	copyHead = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	copyEnd  = []byte{0xff, 0xff}
)

// tuples reads rows of one kind as COPY wants them. With numbered, a column goes before
// the others, that counts the tuples.
type tuples struct {
	rows     []byte
	kind     byte
	columns  uint16
	numbered bool
	bare     bool   // the last column of each is left out
	n        uint32 // tuples so far

	part, next []byte // to be read, one behind the other
	ended      bool
	head       [10]byte
}

func newTuples(rows []byte, kind byte, columns int, numbered, bare bool) *tuples {
	return &tuples{rows: rows, kind: kind, columns: uint16(columns), numbered: numbered, bare: bare, part: copyHead}
}

// Read is that of io.Reader.
func (t *tuples) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(t.part) == 0 {
			t.part, t.next = t.next, nil
		}
		if len(t.part) == 0 && !t.advance() {
			break
		}
		k := copy(p[n:], t.part)
		t.part, n = t.part[k:], n+k
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// advance goes on to the next tuple, or to the end, once.
func (t *tuples) advance() bool {
	for {
		kind, _, columns, rest, ok := cutRow(t.rows)
		if !ok {
			if t.ended {
				return false
			}
			t.part, t.ended = copyEnd, true
			return true
		}
		if ok && t.bare && kind == t.kind {
			columns = columns[:len(columns)-extra(t.rows)]
		}
		if t.rows = rest; kind != t.kind {
			continue
		}
		head := binary.BigEndian.AppendUint16(t.head[:0], t.columns)
		if t.numbered {
			head = binary.BigEndian.AppendUint16(head[:0], t.columns+1)
			head = binary.BigEndian.AppendUint32(append(head, 0, 0, 0, 4), t.n)
		}
		t.n++
		t.part, t.next = head, columns
		return true
	}
}
