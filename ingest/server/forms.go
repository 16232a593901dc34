package server

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"time"
	"unsafe"

	"pingline/ingest"

	"pingline"
)

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
	p.err = &bodyError{ingest.ErrTooLarge, fmt.Sprintf("more than %d pings: send them in parts", p.lim.MaxPings)}
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
	times := p.lim.Times
	if p.given&(1<<fieldEvent) != 0 && p.name[fieldEvent] != "" {
		times.Kept = p.lim.KeptEvents
	}
	if err := times.Check(ping.At, p.now); err != nil {
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
