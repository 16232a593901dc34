package ingest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"time"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"pingline"
)

// Limits bounds what one request may carry. The zero value takes every default.
type Limits struct {
	MaxBody     int                 // bytes of a body as it is sent; 0 means 4 MiB
	MaxInflated int                 // bytes of a body after decompression; 0 means 16 MiB
	MaxPings    int                 // pings in a body; 0 means 20,000
	Times       pingline.TimeLimits // how old and how far ahead a ping may be; 0 means 720 h and 2 min
}

func (l Limits) withDefaults() Limits {
	l.MaxBody = cmp.Or(l.MaxBody, 4<<20)
	l.MaxInflated = cmp.Or(l.MaxInflated, 16<<20)
	l.MaxPings = cmp.Or(l.MaxPings, 20_000)
	l.Times.MaxAge = cmp.Or(l.Times.MaxAge, 720*time.Hour)
	l.Times.MaxAhead = cmp.Or(l.Times.MaxAhead, 2*time.Minute)
	return l
}

// errMalformed is wrapped by every refusal of a body of which nothing is kept
// because it cannot be read. A body that is too large wraps ErrTooLarge.
var errMalformed = errors.New("malformed body")

// bodyError is the refusal of a whole body, or of a line of it.
type bodyError struct {
	kind error
	text string
}

func (e *bodyError) Error() string { return e.text }

func (e *bodyError) Unwrap() error { return e.kind }

// syntaxError says where in a body, or a line of it, the JSON is broken.
type syntaxError struct {
	offset int
	want   string
	got    byte
	atEnd  bool // got nothing
}

func (e *syntaxError) Error() string {
	got := "the end"
	if !e.atEnd {
		got = strconv.Quote(string([]byte{e.got}))
	}
	return fmt.Sprintf("syntax error at offset %d: want %s, got %s", e.offset, e.want, got)
}

func (e *syntaxError) Unwrap() error { return errMalformed }

// Decoded is a body of pings, read and checked. It is meant to be used again:
// the pings of one body take the memory of those before.
type Decoded struct {
	Pings    []pingline.Ping // the valid ones, in order
	Index    []int32         // for each of Pings, its position in the body
	Received int             // pings in the body, valid or not
	Rejected []Rejection     // those not in Pings, but no more than the first 100

	reasons    [fields]int32 // rejected pings by field; 0 for the ping as a whole
	outOfRange [fields]int32 // optional numbers of Pings that were out of range
}

// Rejection says why a ping is invalid.
type Rejection struct {
	Index  int    `json:"index"`           // its position in the body
	Field  string `json:"field,omitempty"` // key; "" if it could not be read at all
	Reason string `json:"error"`
}

const maxRejections = 100

// Reset forgets the body.
func (d *Decoded) Reset() {
	clear(d.Pings)
	*d = Decoded{Pings: d.Pings[:0], Index: d.Index[:0], Rejected: d.Rejected[:0]}
}

// eachReason calls f with the number of rejected pings for each field that was
// a reason, "syntax" for those that could not be read.
func (d *Decoded) eachReason(f func(field string, n int)) { each(&d.reasons, f) }

// eachOutOfRange calls f with how many valid pings had the field out of range.
func (d *Decoded) eachOutOfRange(f func(field string, n int)) { each(&d.outOfRange, f) }

func each(counts *[fields]int32, f func(string, int)) {
	for i, n := range counts {
		if n > 0 {
			f(fieldNames[i], int(n))
		}
	}
}

// A field is a key of a ping, in the order in which they are checked.
type field uint8

const (
	noField field = iota
	fieldRider
	fieldTS
	fieldLat
	fieldLon
	fieldSpeed // the optional numbers, in the order of their bits in Known
	fieldHeading
	fieldAccuracy
	fieldAltitude
	fieldBattery
	fieldDevice
	fieldEvent
	fieldTrip
	fields

	required = 1<<fieldRider | 1<<fieldTS | 1<<fieldLat | 1<<fieldLon
	numbers  = 1<<fieldLat | 1<<fieldLon | 1<<fieldSpeed | 1<<fieldHeading | 1<<fieldAccuracy | 1<<fieldAltitude | 1<<fieldBattery
	names    = 1<<fieldRider | 1<<fieldDevice | 1<<fieldEvent | 1<<fieldTrip
)

var fieldNames = [fields]string{
	"syntax", "rider_id", "ts", "lat", "lon",
	"speed", "heading", "accuracy", "altitude", "battery",
	"device_id", "event", "trip_id",
}

func fieldOf(key []byte) field {
	switch string(key) {
	case "rider_id":
		return fieldRider
	case "ts":
		return fieldTS
	case "lat":
		return fieldLat
	case "lon":
		return fieldLon
	case "speed":
		return fieldSpeed
	case "heading":
		return fieldHeading
	case "accuracy":
		return fieldAccuracy
	case "altitude":
		return fieldAltitude
	case "battery":
		return fieldBattery
	case "device_id":
		return fieldDevice
	case "event":
		return fieldEvent
	case "trip_id":
		return fieldTrip
	}
	return noField
}

// Decode reads the pings of a body and checks them against lim at now. The
// strings of the pings may share the body's memory.
//
// A body has one of four forms, told by its first bytes; white space and a
// UTF-8 byte order mark before them are skipped.
//
//   - [ starts an array of pings.
//   - { starts an object, on one line or many, if all of the body is one. With
//     the key "pings" it is a list, empty if its value is null; else it is a ping.
//   - Any other body is lines, if the second line that is not blank starts with {
//     or the first is an object on its own. Otherwise it is broken.
//
// Lines stand each for itself; the other forms are kept whole or, at an error of
// syntax, not at all. What tells lines from a broken object is thus that an
// object is printed without a line break before {, except in a list; so a broken
// first line that names "pings" makes the body a broken list.
//
// A body without pings is no error. Decode returns an error wrapping
// errMalformed for a body of which nothing can be kept, one wrapping ErrTooLarge
// for more than lim.MaxPings pings; d is then empty.
func (d *Decoded) Decode(body []byte, lim Limits, now time.Time) error {
	d.Reset()
	p := parser{b: body, out: d, lim: lim, now: now}
	err := p.body()
	if err != nil {
		d.Reset()
	}
	return err
}

// parser reads JSON strictly as RFC 8259 has it, but for invalid UTF-8, which
// no valid name holds and which may pass where it is ignored.
type parser struct {
	b   []byte // the body, or a line of it
	i   int    // offset of what is to be read next
	err error  // the first one; each method that returns false has set it

	out    *Decoded
	lim    Limits
	now    time.Time
	listed bool    // the key "pings" was met
	last   decimal // the number read last

	// The ping being read. What is neither given nor wrong is absent or null.
	given  uint16 // bit f: field f has a value of its type
	wrong  uint16 // bit f: field f has a value of another type
	at     int64  // ts
	number [fields]float64
	name   [fields]string
}

func (p *parser) body() error {
	if bytes.HasPrefix(p.b, bom) {
		p.i = len(bom)
	}
	b := p.b[p.i:]
	switch p.peek() {
	case '[':
		if p.list() {
			p.end()
		}
		return p.err
	case '{':
		if p.object(true) && p.end() {
			if !p.listed {
				p.add()
			}
			return nil
		}
	default:
		if p.i == len(p.b) {
			return nil
		}
		p.fail("{ or [")
	}
	if err := p.err; p.listed || !p.isLines(b) {
		return err
	}
	return p.lines(b)
}

var bom = []byte("\ufeff")

// isLines tells lines from one broken object; see Decode.
func (p *parser) isLines(b []byte) bool {
	first, rest, _ := bytes.Cut(bytes.TrimLeft(b, space), []byte("\n"))
	rest = bytes.TrimLeft(rest, space)
	switch {
	case len(rest) == 0:
		return false
	case p.line(first):
		return true
	}
	return rest[0] == '{' && !bytes.Contains(first, []byte(`"pings"`))
}

// lines reads one ping from each line that is not blank.
func (p *parser) lines(b []byte) error {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		switch {
		case len(bytes.TrimLeft(line, space)) == 0:
		case !p.room():
			return p.err
		case p.line(line):
			p.add()
		default:
			p.reject(p.err)
		}
	}
	return nil
}

// line reads a ping that has b for itself.
func (p *parser) line(b []byte) bool {
	p.b, p.i, p.err = b, 0, nil
	if p.peek() == '{' {
		return p.object(false) && p.end()
	}
	if p.skip(0) && p.end() {
		p.err = errNotObject
	}
	return false
}

// list reads an array of pings.
func (p *parser) list() bool {
	p.i++
	if p.peek() == ']' {
		p.i++
		return true
	}
	for p.room() {
		switch {
		case p.peek() != '{':
			if !p.skip(0) {
				return false
			}
			p.reject(errNotObject)
		case p.object(false):
			p.add()
		default:
			return false
		}
		if more, ok := p.more(']'); !more {
			return ok
		}
	}
	return false
}

// object reads a ping or, at the top of a body, what holds the list of them.
func (p *parser) object(top bool) bool {
	p.given, p.wrong = 0, 0
	p.i++
	if p.peek() == '}' {
		p.i++
		return true
	}
	for {
		key, ok := p.key()
		if !ok {
			return false
		}
		switch f := fieldOf(key); {
		case f != noField:
			ok = p.value(f)
		case top && string(key) == "pings":
			ok = p.pings()
		default:
			ok = p.skip(0)
		}
		if !ok {
			return false
		}
		if more, ok := p.more('}'); !more {
			return ok
		}
	}
}

// pings reads the value of the key "pings". Of two of them the last counts.
func (p *parser) pings() bool {
	p.listed = true
	p.out.Reset()
	switch p.peek() {
	case '[':
		return p.list()
	case 'n':
		return p.literal("null")
	}
	return p.fail(`[ behind "pings"`)
}

// value reads the value of field f.
func (p *parser) value(f field) bool {
	bit := uint16(1) << f
	p.given &^= bit
	p.wrong &^= bit
	valid := false
	switch c := p.peek(); {
	case c == 'n':
		return p.literal("null")
	case c == '"' && bit&(names|1<<fieldTS) != 0:
		raw, escaped, ok := p.str()
		if !ok {
			return false
		}
		if escaped {
			raw = unescape(nil, raw)
		}
		if f == fieldTS {
			p.at, valid = parseTime(raw)
			break
		}
		p.name[f], valid = unsafe.String(unsafe.SliceData(raw), len(raw)), true
	case isNumber(c) && bit&(numbers|1<<fieldTS) != 0:
		if !p.decimal() {
			return false
		}
		if f == fieldTS {
			p.at, valid = p.last.integer()
			break
		}
		p.number[f], valid = p.last.float(), true
	default:
		if !p.skip(0) {
			return false
		}
	}
	if valid {
		p.given |= bit
	} else {
		p.wrong |= bit
	}
	return true
}

// parseTime reads an RFC 3339 time and cuts it to ms since 1970.
func parseTime(text []byte) (ms int64, ok bool) {
	var t time.Time
	const longest = 64 // no sane fraction of a second needs more
	if len(text) > longest || t.UnmarshalText(text) != nil {
		return 0, false
	}
	return t.UnixMilli(), true
}

// room reports whether one more ping is allowed.
func (p *parser) room() bool {
	if p.out.Received < p.lim.MaxPings {
		return true
	}
	p.err = &bodyError{ErrTooLarge, fmt.Sprintf("more than %d pings: send them in parts", p.lim.MaxPings)}
	return false
}

// add takes the ping that was read, or rejects it.
func (p *parser) add() {
	d := p.out
	d.Pings = append(d.Pings, pingline.Ping{})
	last := len(d.Pings) - 1
	if err := p.check(&d.Pings[last]); err != nil {
		d.Pings = d.Pings[:last]
		p.reject(err)
		return
	}
	d.Index = append(d.Index, int32(d.Received))
	d.Received++
}

// check makes the fields that were read a ping. Wrong types come first, then
// what is missing, then values, each in the order of the fields.
func (p *parser) check(ping *pingline.Ping) error {
	if p.wrong != 0 {
		return wrongType(field(bits.TrailingZeros16(p.wrong)))
	}
	if missing := required &^ p.given; missing != 0 {
		return &pingline.FieldError{Field: fieldNames[bits.TrailingZeros16(missing)], Reason: "missing"}
	}
	ping.Rider, ping.At = p.name[fieldRider], p.at
	if err := pingline.CheckName("rider_id", ping.Rider); err != nil {
		return err
	}
	if err := p.lim.Times.Check(ping.At, p.now); err != nil {
		return err
	}
	if err := ping.SetPosition(p.number[fieldLat], p.number[fieldLon]); err != nil {
		return err
	}
	if p.given&(names&^required) != 0 {
		if err := p.checkNames(ping); err != nil {
			return err
		}
	}
	for f := fieldSpeed; f <= fieldBattery; f++ {
		if p.given&(1<<f) != 0 && ping.SetOptional(pingline.HasSpeed<<(f-fieldSpeed), p.number[f]) {
			p.out.outOfRange[f]++
		}
	}
	return nil
}

func (p *parser) checkNames(ping *pingline.Ping) error {
	if p.given&(1<<fieldDevice) != 0 {
		ping.Device = p.name[fieldDevice]
		if err := pingline.CheckName("device_id", ping.Device); err != nil {
			return err
		}
	}
	if p.given&(1<<fieldEvent) != 0 {
		ping.Event = p.name[fieldEvent]
		if err := pingline.CheckEvent(ping.Event); err != nil {
			return err
		}
	}
	if p.given&(1<<fieldTrip) != 0 {
		ping.Trip = p.name[fieldTrip]
		return pingline.CheckName("trip_id", ping.Trip)
	}
	return nil
}

var errNotObject = &bodyError{errMalformed, "not an object"}

func wrongType(f field) error {
	reason := "not a number"
	switch bit := uint16(1) << f; {
	case f == fieldTS:
		reason = "neither whole ms since 1970 nor an RFC 3339 time in quotes"
	case bit&names != 0:
		reason = "not a string"
	}
	return &pingline.FieldError{Field: fieldNames[f], Reason: reason}
}

// reject counts the ping that was read as invalid.
func (p *parser) reject(err error) {
	d := p.out
	var name string
	var f field
	fe, ok := errors.AsType[*pingline.FieldError](err)
	if ok {
		name = fe.Field
		f = fieldOf([]byte(name))
	}
	d.reasons[f]++
	if len(d.Rejected) < maxRejections {
		reason := err.Error()
		if ok {
			reason = fe.Reason
		}
		d.Rejected = append(d.Rejected, Rejection{d.Received, name, reason})
	}
	d.Received++
}

// space is white space in JSON.
const space = " \t\r\n"

// peek skips white space and returns the byte to be read next, 0 at the end.
func (p *parser) peek() byte {
	for ; p.i < len(p.b); p.i++ {
		if c := p.b[p.i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// fail says what should be where something else is.
func (p *parser) fail(want string) bool {
	err := &syntaxError{offset: p.i, want: want, atEnd: p.i == len(p.b)}
	if !err.atEnd {
		err.got = p.b[p.i]
	}
	p.err = err
	return false
}

func (p *parser) end() bool {
	p.peek()
	return p.i == len(p.b) || p.fail("the end")
}

// more reads what follows a member of an object or array.
func (p *parser) more(closing byte) (more, ok bool) {
	switch p.peek() {
	case ',':
		p.i++
		return true, true
	case closing:
		p.i++
		return false, true
	}
	return false, p.fail(", or " + string(closing))
}

// key reads a key and the colon behind it.
func (p *parser) key() (key []byte, ok bool) {
	if p.peek() != '"' {
		return nil, p.fail("a key")
	}
	key, escaped, ok := p.str()
	if !ok {
		return nil, false
	}
	if escaped {
		key = unescape(nil, key)
	}
	if p.peek() != ':' {
		return nil, p.fail(":")
	}
	p.i++
	return key, true
}

func (p *parser) literal(word string) bool {
	if !bytes.HasPrefix(p.b[p.i:], []byte(word)) {
		return p.fail(word)
	}
	p.i += len(word)
	return true
}

// maxDepth is how deep arrays and objects may be nested in what is ignored.
const maxDepth = 64

// skip reads any value, depth levels down in what is ignored.
func (p *parser) skip(depth int) bool {
	switch c := p.peek(); c {
	case '{', '[':
		return p.skipNested(c, depth+1)
	case '"':
		_, _, ok := p.str()
		return ok
	case 't':
		return p.literal("true")
	case 'f':
		return p.literal("false")
	case 'n':
		return p.literal("null")
	default:
		if !isNumber(c) {
			return p.fail("a value")
		}
		return p.decimal()
	}
}

func (p *parser) skipNested(opening byte, depth int) bool {
	if depth > maxDepth {
		p.err = &bodyError{errMalformed, fmt.Sprintf("nested deeper than %d levels at offset %d", maxDepth, p.i)}
		return false
	}
	closing := opening + 2 // in ASCII, of both pairs
	p.i++
	if p.peek() == closing {
		p.i++
		return true
	}
	for {
		if opening == '{' {
			if _, ok := p.key(); !ok {
				return false
			}
		}
		if !p.skip(depth) {
			return false
		}
		if more, ok := p.more(closing); !more {
			return ok
		}
	}
}

// plain marks the bytes that stand for themselves in a string.
var plain [256]bool

func init() {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\'
	}
}

// str reads a string and returns what is between its quotes.
func (p *parser) str() (raw []byte, escaped, ok bool) {
	b, start := p.b, p.i+1
	for i := start; ; {
		for i < len(b) && plain[b[i]] {
			i++
		}
		p.i = i
		switch {
		case i == len(b):
			return nil, false, p.fail("a quote")
		case b[i] == '"':
			p.i++
			return b[start:i], escaped, true
		case b[i] != '\\':
			return nil, false, p.fail("no control character in a string")
		}
		n := escapeLen(b[i:])
		if n == 0 {
			return nil, false, p.fail("a valid escape")
		}
		i += n
		escaped = true
	}
}

// What may follow a backslash, but for u, and what it means.
var escapes, meanings = []byte(`"\/bfnrt`), []byte("\"\\/\b\f\n\r\t")

// escapeLen returns the length of the escape that b starts with, 0 if it is none.
func escapeLen(b []byte) int {
	switch {
	case len(b) >= 2 && bytes.IndexByte(escapes, b[1]) >= 0:
		return 2
	case len(b) >= 6 && b[1] == 'u' && hex4(b[2:]) >= 0:
		return 6
	}
	return 0
}

// hex4 returns the number that the first four bytes of b are in base 16, or -1.
func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// unescape appends what a string says whose escapes are well-formed. Half a
// surrogate pair becomes U+FFFD.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c != '\\':
			dst = append(dst, c)
			i++
		case raw[i+1] != 'u':
			dst = append(dst, meanings[bytes.IndexByte(escapes, raw[i+1])])
			i += 2
		default:
			r := hex4(raw[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if escapeLen(raw[i:]) == 6 {
					low = hex4(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

func isNumber(first byte) bool { return first == '-' || first >= '0' && first <= '9' }

// A decimal is the value of a number: mant × 10^exp, and a bit more if digits
// other than 0 found no room in mant.
type decimal struct {
	text []byte
	mant uint64 // 19 digits at most
	exp  int
	neg  bool
	more bool
}

// decimal reads a number into p.last.
func (p *parser) decimal() bool {
	b, i := p.b, p.i
	d := &p.last
	d.neg = b[i] == '-'
	if d.neg {
		i++
	}
	end, mant, exp, more := digits(b, i, 0)
	switch {
	case end == i:
		p.i = i
		return p.fail("a digit")
	case end > i+1 && b[i] == '0':
		p.i = i + 1
		return p.fail("no digit behind a leading zero")
	}
	if end < len(b) && b[end] == '.' {
		i = end + 1
		var left int
		var tail bool
		end, mant, left, tail = digits(b, i, mant)
		if end == i {
			p.i = i
			return p.fail("a digit")
		}
		exp -= end - i - left
		more = more || tail
	}
	if end < len(b) && b[end]|0x20 == 'e' {
		var e int
		e, end = exponent(b, end+1)
		if b[end-1]-'0' > 9 {
			p.i = end
			return p.fail("a digit")
		}
		exp += e
	}
	d.text, d.mant, d.exp, d.more = b[p.i:end], mant, exp, more
	p.i = end
	return true
}

// digits appends the digits at b[i:] to those of mant. It returns where they
// end, how many were left out for want of room, and whether any of these is not 0.
func digits(b []byte, i int, mant uint64) (end int, sum uint64, left int, more bool) {
	for ; i < len(b); i++ {
		c := b[i] - '0'
		switch {
		case c > 9:
			return i, mant, left, more
		case mant < 1e18:
			mant = mant*10 + uint64(c)
		default:
			left++
			more = more || c != 0
		}
	}
	return i, mant, left, more
}

// exponent reads the exponent at b[i:] and returns where it ends; it ends in a
// digit unless it is malformed.
func exponent(b []byte, i int) (exp, end int) {
	neg := i < len(b) && b[i] == '-'
	if neg || i < len(b) && b[i] == '+' {
		i++
	}
	const most = 1 << 30 // beyond what any number of digits in a body can undo
	for ; i < len(b) && b[i]-'0' <= 9; i++ {
		exp = min(exp*10+int(b[i]-'0'), most)
	}
	if neg {
		exp = -exp
	}
	return exp, i
}

// float returns the nearest float64, ±Inf if there is none.
func (d *decimal) float() float64 {
	// Both factors are exact in a float64, so their product or quotient is
	// rounded but once.
	if d.mant < 1<<53 && !d.more && d.exp >= -22 && d.exp <= 22 {
		f := float64(d.mant)
		if d.exp < 0 {
			f /= pow10[-d.exp]
		} else {
			f *= pow10[d.exp]
		}
		if d.neg {
			f = -f
		}
		return f
	}
	// The only error there can be is that of a number beyond all, ±Inf.
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(d.text), len(d.text)), 64)
	return f
}

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// integer returns the value if it is whole, or the end of the range of int64
// that it lies beyond.
func (d *decimal) integer() (v int64, whole bool) {
	m := d.mant
	if d.more && d.exp <= 0 {
		return 0, false
	}
	for exp := d.exp; exp < 0 && m != 0; exp++ {
		if m%10 != 0 {
			return 0, false
		}
		m /= 10
	}
	for exp := d.exp; exp > 0 && m != 0 && m <= math.MaxInt64; exp-- {
		if m > math.MaxInt64/10 {
			m = math.MaxInt64
			break
		}
		m *= 10
	}
	v = int64(min(m, math.MaxInt64))
	if d.neg {
		v = -v
	}
	return v, true
}
