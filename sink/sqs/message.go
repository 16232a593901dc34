package sqs

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"pingline"
)

// parcel is a row as it is sent.
type parcel struct {
	row   int    // its index among the rows of a Write
	body  string // JSON
	id    string // of the row, whatever its content
	token string // of the row with this content: by it a copy is told
	group string // messages of a group stay in order in a FIFO queue
	kind  *string
}

// appendRow appends e as a row: its length, and its form in the log without the shard.
func appendRow(dst []byte, e *pingline.Entry) []byte {
	at, here := len(dst), *e
	here.To = ""
	dst = pingline.AppendEntry(append(dst, 0, 0), &here, 0)
	binary.LittleEndian.PutUint16(dst[at:], uint16(len(dst)-at-2))
	return dst
}

// messages returns rows as messages.
func messages(rows []byte, n int) ([]parcel, error) {
	list := make([]parcel, 0, n)
	var e pingline.Entry
	var buf []byte
	for len(rows) >= 2 {
		end := 2 + int(binary.LittleEndian.Uint16(rows))
		if end > len(rows) {
			break
		}
		if used, err := pingline.DecodeEntry(&e, rows[2:end], 0); err != nil || used != end-2 {
			return nil, fmt.Errorf("row %d is none: %w", len(list), err)
		}
		rows = rows[end:]
		m := parcel{row: len(list), id: idOf(&e), kind: kindOf(&e)}
		buf = appendBody(buf[:0], &e, m.id)
		m.body, m.group = string(buf), groupOf(&e)
		m.token = sum(buf)
		list = append(list, m)
	}
	if len(rows) > 0 || len(list) != n {
		return nil, fmt.Errorf("%d rows, want %d", len(list), n)
	}
	return list, nil
}

// kinds are the values of the attribute kind.
var kinds = struct{ location, event, activity, self string }{"location", "event", "activity", "self"}

// kindOf returns the kind of an entry, by the names that routes have.
func kindOf(e *pingline.Entry) *string {
	switch {
	case e.Kind == pingline.Activity:
		return &kinds.activity
	case e.Kind == pingline.Self:
		return &kinds.self
	case e.Event != "":
		return &kinds.event
	}
	return &kinds.location
}

// sum returns 128 bits of SHA-256, hexadecimal.
func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}

// idOf returns the id of a row: the same for all rows that are the same row, as store.Store
// says it.
func idOf(e *pingline.Entry) string {
	b := make([]byte, 0, 256)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	switch {
	case e.IsLine():
		b = append(b, 'l')
		text(e.Line)
	case e.Point != nil:
		b = binary.AppendVarint(append(b, 'p'), e.Point.At)
		text(e.Point.Name)
		for i := range e.Point.Tags {
			text(e.Point.Tags[i].Key)
			text(e.Point.Tags[i].Value)
		}
	default:
		b = binary.AppendVarint(append(b, 'r'), e.At)
		b = binary.AppendVarint(binary.AppendUvarint(b, e.Cell), e.Nano())
		text(e.Rider)
		text(e.Device)
		b = strconv.AppendBool(strconv.AppendBool(b, e.Late), e.Corrected)
	}
	return sum(b)
}

// groupOf returns the group of a row: the rider, or the name of a point. A name that SQS
// takes for no group becomes a hash of it.
func groupOf(e *pingline.Entry) string {
	name := e.Rider
	switch {
	case e.IsLine():
		name = "pingline"
	case e.Point != nil:
		name = e.Point.Name
	}
	other := func(c rune) bool { return c <= ' ' || c > '~' }
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, other) {
		return sum([]byte(name))
	}
	return name
}

// appendBody appends the JSON form of an entry. That of a ping is the form that POST /v1/pings
// takes, with keys more.
func appendBody(b []byte, e *pingline.Entry, id string) []byte {
	b = append(append(append(b, `{"id":"`...), id...), '"')
	switch {
	case e.IsLine():
		b = appendString(append(b, `,"line":`...), e.Line)
	case e.Point != nil:
		b = appendPoint(b, e.Point)
	default:
		b = appendPing(b, e)
	}
	return append(b, '}')
}

func appendPing(b []byte, e *pingline.Entry) []byte {
	text := func(key pingline.PingKey, s string) {
		if s != "" {
			b = appendString(appendKey(b, key.String()), s)
		}
	}
	text(pingline.KeyRider, e.Rider)
	text(pingline.KeyDevice, e.Device)
	b = strconv.AppendInt(appendKey(b, pingline.KeyTS.String()), e.At, 10)
	b = strconv.AppendFloat(appendKey(b, pingline.KeyLat.String()), e.Lat(), 'f', -1, 64)
	b = strconv.AppendFloat(appendKey(b, pingline.KeyLon.String()), e.Lon(), 'f', -1, 64)
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 && v-v == 0 { // JSON has only finite numbers
			b = strconv.AppendFloat(appendKey(b, pingline.Numbers[i].Key), float64(v), 'f', -1, 32)
		}
	}
	text(pingline.KeyEvent, e.Event)
	text(pingline.KeyTrip, e.Trip)
	if e.Attrs != "" {
		b = e.Attrs.AppendJSON(appendKey(b, pingline.KeyAttrs))
	}
	if e.Cell != 0 {
		b = append(strconv.AppendUint(append(appendKey(b, "cell"), '"'), e.Cell, 16), '"')
	}
	if e.Skipped != 0 {
		b = strconv.AppendUint(appendKey(b, "skipped"), uint64(e.Skipped), 10)
	}
	if e.Late {
		b = append(b, `,"late":true`...)
	}
	if e.Corrected {
		b = append(b, `,"corrected":true`...)
	}
	if nano := e.Nano(); nano != 0 {
		b = strconv.AppendInt(appendKey(b, "nano"), nano, 10)
	}
	return b
}

func appendPoint(b []byte, p *pingline.Point) []byte {
	b = appendString(append(b, `,"name":`...), p.Name)
	b = strconv.AppendInt(append(b, `,"ts":`...), p.At, 10)
	b = append(b, `,"tags":{`...)
	for i := range p.Tags {
		b = appendMember(b, i, p.Tags[i].Key)
		b = appendString(b, p.Tags[i].Value)
	}
	b = append(b, `},"fields":{`...)
	for i := range p.Fields {
		f := &p.Fields[i]
		b = appendMember(b, i, f.Key)
		switch f.Type {
		case pingline.IntField:
			b = strconv.AppendInt(b, f.Int(), 10)
		case pingline.FloatField:
			b = appendFloat(b, f.Float())
		case pingline.BoolField:
			b = strconv.AppendBool(b, f.Bool())
		default:
			b = appendString(b, f.Text())
		}
	}
	return append(b, '}')
}

// appendFloat writes a whole number with a point, so that its type is seen, and null for one
// that is not finite.
func appendFloat(b []byte, v float64) []byte {
	if v-v != 0 {
		return append(b, "null"...)
	}
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return append(strconv.AppendFloat(b, v, 'f', -1, 64), ".0"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func appendMember(b []byte, i int, key string) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return append(appendString(b, key), ':')
}

func appendKey(b []byte, key string) []byte {
	return append(append(append(b, `,"`...), key...), `":`...)
}

// appendString appends a string as JSON has it. Characters that no message of SQS may have
// are escaped: see https://www.w3.org/TR/REC-xml/#charsets.
func appendString(b []byte, s string) []byte {
	const hexes = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case c < ' ':
				b = append(b, '\\', 'u', '0', '0', hexes[c>>4], hexes[c&15])
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case r == 0xfffe || r == 0xffff:
			b = append(b, `\uff`...)
			b = append(b, hexes[r>>4&15], hexes[r&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
