package lineprotocol

import (
	"bytes"
	"errors"
	"math"
	"strconv"
	"unsafe"
)

// lineReader reads line protocol as InfluxDB 1.8 does, in one pass. A line that it refuses costs no
// more than one that it takes: the decoder of influxdata/line-protocol quotes lines in its
// errors, which a request of broken lines pays with 100 times its size.
type lineReader struct {
	text    []byte
	i       int           // the next byte
	line    int           // its line, from 1
	scratch [longest]byte // memory of plain
}

// longest is the most bytes of a name of a Config.
const longest = 128

// escapedText is a name, or the value of a tag or of a string, as it stands in the text.
type escapedText struct {
	text    []byte
	escapes string // characters that a backslash stands before; "": there is no backslash
}

// Characters that are escaped. A backslash before another is a backslash.
const (
	measurementEscapes = ", "
	keyEscapes         = ",= "
	stringEscapes      = `"\`
)

// value is a value of a field.
type value struct {
	kind   fieldKind
	number float64
	text   escapedText
}

type fieldKind int

const (
	boolValue fieldKind = iota
	numberValue
	textValue
)

var (
	errMeasurement = errors.New("no measurement")
	errTag         = errors.New("a tag is not of the form key=value")
	errFields      = errors.New("no fields behind the measurement and its tags")
	errField       = errors.New("a field is not of the form key=value")
	errQuote       = errors.New("a string has no quote at its end")
	errValue       = errors.New("a value is no number, string or boolean")
	errTimestamp   = errors.New("the timestamp is no whole number of 64 bits")
	errTail        = errors.New("text behind the timestamp")
)

// begin goes to the next line that is not empty and no comment. It returns false if there is none.
func (p *lineReader) begin() bool {
	for p.i < len(p.text) {
		switch p.text[p.i] {
		case ' ', '\r', '\t':
			p.i++
		case '\n':
			p.i++
			p.line++
		case '#':
			p.skipLine()
		default:
			return true
		}
	}
	return false
}

// skipLine goes behind the next line break.
func (p *lineReader) skipLine() {
	at := bytes.IndexByte(p.text[p.i:], '\n')
	if at < 0 {
		p.i = len(p.text)
		return
	}
	p.i += at + 1
	p.line++
}

func (p *lineReader) measurement() (escapedText, error) {
	t := p.name(measurementEscapes)
	if len(t.text) == 0 {
		return t, errMeasurement
	}
	return t, nil
}

// name reads up to a character that would have to be escaped, or a control character.
func (p *lineReader) name(escapes string) (t escapedText) {
	from, equals := p.i, len(escapes) == len(keyEscapes)
	for ; p.i < len(p.text); p.i++ {
		c := p.text[p.i]
		if c == ',' || c == ' ' || c == '=' && equals || c < ' ' || c == 0x7f {
			break
		}
		if c == '\\' {
			t.escapes = escapes
			if p.i+1 < len(p.text) && isOneOf(p.text[p.i+1], escapes) {
				p.i++
			}
		}
	}
	t.text = p.text[from:p.i]
	return t
}

func isOneOf(c byte, list string) bool {
	for i := range len(list) {
		if list[i] == c {
			return true
		}
	}
	return false
}

// more passes c, if it is next.
func (p *lineReader) more(c byte) bool {
	if p.i < len(p.text) && p.text[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *lineReader) tag() (key, value escapedText, err error) {
	if key = p.name(keyEscapes); len(key.text) == 0 || !p.more('=') {
		return key, value, errTag
	}
	if value = p.name(keyEscapes); len(value.text) == 0 {
		return key, value, errTag
	}
	return key, value, nil
}

// space passes the blanks before the fields.
func (p *lineReader) space() error {
	if !p.more(' ') {
		return errFields
	}
	for p.more(' ') {
	}
	if p.i == len(p.text) || p.text[p.i] == '\n' || p.text[p.i] == '\r' {
		return errFields
	}
	return nil
}

func (p *lineReader) field() (key escapedText, v value, err error) {
	if key = p.name(keyEscapes); len(key.text) == 0 || !p.more('=') || p.i == len(p.text) {
		return key, v, errField
	}
	if p.text[p.i] == '"' {
		v.kind = textValue
		v.text, err = p.quoted()
	} else {
		v.kind, v.number, err = p.bare()
	}
	return key, v, err
}

// quoted reads a string, which may have line breaks in it. Without an end it is not passed.
func (p *lineReader) quoted() (t escapedText, err error) {
	from := p.i + 1
	for i := from; i < len(p.text); i++ {
		switch p.text[i] {
		case '"':
			t.text = p.text[from:i]
			p.line += bytes.Count(t.text, []byte("\n"))
			p.i = i + 1
			return t, nil
		case '\\':
			t.escapes = stringEscapes
			i++
		}
	}
	return t, errQuote
}

// bare reads a number or a boolean.
func (p *lineReader) bare() (fieldKind, float64, error) {
	from := p.i
	for p.i < len(p.text) && p.text[p.i] != ',' && p.text[p.i] > ' ' {
		p.i++
	}
	text := p.text[from:p.i]
	switch string(text) {
	case "":
		return boolValue, 0, errValue
	case "t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE":
		return boolValue, 0, nil
	}
	whole := false
	if last := text[len(text)-1]; last == 'i' || last == 'u' {
		text, whole = text[:len(text)-1], true
	}
	if !isNumber(text, whole) {
		return boolValue, 0, errValue
	}
	v, err := strconv.ParseFloat(borrowed(text), 64)
	if err != nil || math.IsInf(v, 0) {
		return boolValue, 0, errValue
	}
	return numberValue, v, nil
}

// isNumber reports whether text begins as a number does, and has its characters only.
func isNumber(text []byte, whole bool) bool {
	for i, c := range text {
		digit := c-'0' < 10
		switch {
		case digit:
		case c == '-' && i == 0 && len(text) > 1:
		case whole, c != '.' && (i == 0 || c != 'e' && c != 'E' && c != '+' && c != '-'):
			return false
		}
	}
	return len(text) > 0
}

// end reads the timestamp, if there is one, and the end of the line.
func (p *lineReader) end() (at int64, timed bool, err error) {
	blank := p.more(' ')
	for p.more(' ') {
	}
	if p.eol() {
		return 0, false, nil
	}
	if !blank {
		return 0, false, errValue
	}
	from := p.i
	for p.i < len(p.text) && (p.text[p.i]-'0' < 10 || p.text[p.i] == '-') {
		p.i++
	}
	if p.i-from > len("-9223372036854775808") {
		return 0, false, errTimestamp // the error of a long text would copy it
	}
	at, err = strconv.ParseInt(borrowed(p.text[from:p.i]), 10, 64)
	if err != nil {
		return 0, false, errTimestamp
	}
	for p.more(' ') {
	}
	if !p.eol() {
		return 0, false, errTail
	}
	return at, true, nil
}

// eol passes the end of a line, if it is next.
func (p *lineReader) eol() bool {
	rest := p.text[p.i:]
	switch {
	case len(rest) == 0:
	case rest[0] == '\n':
		p.i++
		p.line++
	case rest[0] == '\r' && len(rest) == 1:
		p.i++
	case rest[0] == '\r' && rest[1] == '\n':
		p.i += 2
		p.line++
	default:
		return false
	}
	return true
}

// plain returns a name without its escapes, cut to more than the longest that a Config may have.
// It is valid until the next call.
func (p *lineReader) plain(t escapedText) []byte {
	if t.escapes == "" {
		return t.text
	}
	if len(t.text) > 2*longest {
		return nil
	}
	return t.unescape(p.scratch[:0])
}

// string returns the text without its escapes. Without a backslash it shares the memory of the
// request.
func (t escapedText) string() string {
	if t.escapes == "" {
		return borrowed(t.text)
	}
	return string(t.unescape(make([]byte, 0, len(t.text))))
}

func (t escapedText) unescape(to []byte) []byte {
	for i := 0; i < len(t.text); i++ {
		if t.text[i] == '\\' && i+1 < len(t.text) && isOneOf(t.text[i+1], t.escapes) {
			i++
		}
		to = append(to, t.text[i])
	}
	return to
}

// borrowed returns b as a string that shares its memory.
func borrowed(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
