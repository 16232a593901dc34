package native

import (
	"bytes"
	"math/bits"
	"time"
	"unsafe"

	"pingline"
	"pingline/ingest/phone"
)

// parser reads JSON strictly as RFC 8259 has it, but for invalid UTF-8, which
// no valid name holds and which may pass where it is ignored, and for NaN, Infinity
// and -Infinity, which Python writes: numbers that are out of every range.
type parser struct {
	b   []byte // the body, or a line of it
	i   int    // offset of what is to be read next
	err error  // the first one; each method that returns false has set it

	out    *phone.Pings
	listed bool    // the key "pings" was met
	last   decimal // the number read last

	// The ping being read. A field that is neither in the draft nor wrong is absent
	// or null.
	draft phone.Draft
	wrong uint16 // bit f: field f has a value of another type
	ts    string // why TS is wrong
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
	numbers = 1<<phone.Device - 1<<phone.Lat // from Lat to the last of the optional ones
	names   = 1<<phone.Rider | 1<<phone.Device | 1<<phone.Event | 1<<phone.Trip
)

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
	p.draft.Reset()
	p.wrong = 0
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
		switch f := phone.FieldOf(key); {
		case f != phone.NoField:
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
	default:
		p.ts = notATime
		if !p.skip(0) {
			return false
		}
	}
	p.wrong |= bit
	return true
}

const notATime = "neither ms since 1970 nor an RFC 3339 time in quotes"

// parseTime reads an RFC 3339 time and cuts it to ms since 1970, or says why it is
// none. Python's isoformat, for one, writes no time zone unless it is told to.
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
	case len(bytes.Trim(text, ".0123456789")) == 0 && len(text) > 0:
		return 0, "a number in quotes: send ms since 1970 without them"
	}
	return 0, notATime
}

// room reports whether one more ping is allowed.
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
	reason := "not a number"
	switch bit := uint16(1) << f; {
	case f == phone.TS:
		reason = p.ts
	case bit&names != 0:
		reason = "not a string"
	}
	return &pingline.FieldError{Field: f.String(), Reason: reason}
}
