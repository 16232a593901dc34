package native

import (
	"bytes"
	"math/bits"
	"time"
	"unsafe"

	"pingline"
	"pingline/ingest/phone"
)

// parser reads JSON strictly by RFC 8259, with two exceptions. Invalid UTF-8 may pass in
// an ignored value, but not in a name. NaN, Infinity and -Infinity, which Python
// writes, are numbers that are out of every range.
type parser struct {
	b   []byte // the body, or a line of it
	i   int    // offset of the next byte to read
	err error  // the first error; each method that returns false has set it

	out    *phone.Pings
	listed bool    // the key "pings" was met
	last   decimal // the number read last

	follows followers // in the ping before

	// The ping being read. A field that is neither in the draft nor wrong is absent
	// or null.
	draft phone.Draft
	wrong uint16 // bit f: field f has a value of another type
	ts    string // why TS is wrong
	attrs error  // why Attrs is wrong

	named []pingline.PointField // attributes of the ping being read
}

// followers has the field that comes behind each, first of all behind none.
type followers [1 + phone.Attrs]phone.Field

// documented is the order of the documents, the first guess.
var documented = func() (list followers) {
	for f := range list[1:] {
		list[f] = phone.Field(f + 1)
	}
	return list
}()

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
			if !p.listed && p.room() {
				p.add()
			}
			return p.err
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

const (
	numbers = 1<<phone.Device - 1<<phone.Lat // from Lat to the last of the optional numbers
	names   = 1<<phone.Rider | 1<<phone.Device | 1<<phone.Event | 1<<phone.Trip
)

var bom = []byte("\ufeff")

// isLines tells lines from a broken object; see Decode.
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

// lines reads a ping from each line that is not blank.
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

// line reads a ping that takes up all of b.
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

// object reads a ping or, at the top of a body, an object with the list of pings.
func (p *parser) object(top bool) bool {
	p.draft.Reset()
	p.wrong = 0
	p.i++
	if p.peek() == '}' {
		p.i++
		return true
	}
	for f := phone.NoField; ; {
		next, read := p.numbers(f)
		if f = next; !read {
			if next, ok := p.member(f, top); ok {
				f = next
			} else {
				return false
			}
		}
		if more, ok := p.more('}'); !more {
			return ok
		}
		p.peek()
	}
}

// numbers reads members that follow f in the order of the ping before, as long as they are
// plain numbers. It returns the last that it read, or f, and whether the value of a member
// was read last, and not a comma.
func (p *parser) numbers(f phone.Field) (last phone.Field, read bool) {
	const numbers = numbers | 1<<phone.TS
	b, i := p.b, p.i
	for {
		next := p.follows[f]
		if 1<<next&numbers == 0 || !comes(b, i, next) {
			p.i = i
			return f, false
		}
		at := i + tokens[next].length
		if b[at] == ' ' {
			at++
		}
		digits, decimals, end := plainNumber(b, at)
		switch {
		case end == 0 || next == phone.TS && decimals > 0:
			p.i = i
			return f, false
		case next == phone.TS:
			p.draft.SetTime(digits)
		default:
			p.draft.SetNumber(next, float64(digits)/pow10[decimals]) // rounded once: both are exact
		}
		p.wrong &^= 1 << next
		f, i = next, end
		if len(b)-i < 3 || b[i] != ',' {
			p.i = i
			return f, true
		}
		i++
		if b[i] == ' ' {
			i++
		}
	}
}

// member reads the next member of an object, behind f, and returns its field.
func (p *parser) member(f phone.Field, top bool) (next phone.Field, ok bool) {
	if next = p.follows[f]; next != phone.NoField && comes(p.b, p.i, next) {
		p.i += tokens[next].length
		return next, p.value(next)
	}
	key, ok := p.key()
	if !ok {
		return 0, false
	}
	next = phone.FieldOf(key)
	p.follows[f] = next
	switch {
	case next != phone.NoField:
		ok = p.value(next)
	case top && string(key) == "pings":
		ok = p.pings()
	default:
		ok = p.skip(0)
	}
	return next, ok
}

// pings reads the value of the key "pings". If the key comes twice, the last counts.
func (p *parser) pings() bool {
	p.listed = true
	p.out.Clear()
	switch p.peek() {
	case '[':
		return p.list()
	case 'n':
		return p.literal("null")
	}
	return p.fail(`[ behind "pings"`)
}

// value reads the value of field f.
func (p *parser) value(f phone.Field) bool {
	bit := uint16(1) << f
	p.draft.Unset(f)
	p.wrong &^= bit
	switch c := p.peek(); {
	case c == 'n':
		return p.literal("null")
	case c == '"' && bit&(names|1<<phone.TS) != 0:
		raw, escaped, ok := p.str()
		if !ok {
			return false
		}
		if escaped {
			raw = unescape(nil, raw)
		}
		if f != phone.TS {
			p.draft.SetName(f, unsafe.String(unsafe.SliceData(raw), len(raw)))
			return true
		}
		at, why := parseTime(raw)
		if why == "" {
			p.draft.SetTime(at)
			return true
		}
		p.ts = why
	case isNumber(c) && bit&(numbers|1<<phone.TS) != 0:
		if !p.decimal() {
			return false
		}
		if f != phone.TS {
			p.draft.SetNumber(f, p.last.float())
			return true
		}
		if !p.last.special {
			p.draft.SetTime(p.last.integer())
			return true
		}
		p.ts = notATime
	case c == '{' && f == phone.Attrs:
		if !p.attributes() {
			return false
		}
		if p.attrs == nil {
			return true
		}
	default:
		p.ts, p.attrs = notATime, errNotAttrs
		if !p.skip(0) {
			return false
		}
	}
	p.wrong |= bit
	return true
}

const notATime = "neither ms since 1970 nor an RFC 3339 time in quotes"

// parseTime reads an RFC 3339 time and truncates it to ms since 1970, or returns why it
// is not valid. A missing time zone is common: Python's isoformat writes none by default.
func parseTime(text []byte) (ms int64, why string) {
	var t time.Time
	const longest = 64 // no sane fraction of a second needs more
	switch {
	case len(text) > longest:
		return 0, notATime
	case t.UnmarshalText(text) == nil:
		return t.UnixMilli(), ""
	case t.UnmarshalText(append(bytes.Replace(text, []byte(" "), []byte("T"), 1), 'Z')) == nil:
		return 0, "no time zone: write Z or an offset such as +01:00 behind the time"
	case t.UnmarshalText(withColon(text)) == nil:
		return 0, "the offset of its time zone needs a colon: +01:00"
	case len(bytes.Trim(text, ".0123456789")) == 0 && len(text) > 0:
		return 0, "a number in quotes: send ms since 1970 without them"
	}
	return 0, notATime
}

// withColon returns a time whose offset is written +0100, as strftime does, as RFC 3339
// has it, and any other text as it is.
func withColon(text []byte) []byte {
	n := len(text)
	if n < 5 || text[n-5] != '+' && text[n-5] != '-' {
		return text
	}
	return append(append(bytes.Clone(text[:n-2]), ':'), text[n-2:]...)
}

// room reports whether another ping is allowed.
func (p *parser) room() bool {
	p.err = p.out.Room()
	return p.err == nil
}

// add takes the ping that was read, or rejects it. Room was asked before.
func (p *parser) add() {
	if p.wrong != 0 {
		_ = p.out.RejectDraft(&p.draft, p.wrongType(phone.Field(bits.TrailingZeros16(p.wrong))))
		return
	}
	_ = p.out.Add(&p.draft)
}

// reject counts the ping that was read as invalid.
func (p *parser) reject(err error) { _ = p.out.Reject(err) }

var errNotObject = &phone.Error{Kind: phone.ErrMalformed, Text: "not an object"}

func (p *parser) wrongType(f phone.Field) error {
	if f == phone.Attrs {
		return p.attrs
	}
	reason := "not a number"
	switch bit := uint16(1) << f; {
	case f == phone.TS:
		reason = p.ts
	case bit&names != 0:
		reason = "not a string"
	}
	return &pingline.FieldError{Field: f.String(), Reason: reason}
}
