package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"

	"pingline/ingest/phone"
)

// space is white space in JSON.
const space = " \t\r\n"

// peek skips white space and returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.i < len(p.b) && p.b[p.i] > ' ' {
		return p.b[p.i]
	}
	return p.skipSpace()
}

func (p *parser) skipSpace() byte {
	for ; p.i < len(p.b); p.i++ {
		if c := p.b[p.i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// fail sets the error: the text at p.i is not what want names.
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

// more reads the comma or the closing bracket behind a member of an object or array.
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

// maxDepth is the deepest nesting of arrays and objects in an ignored value.
const maxDepth = 64

// skip reads any value, depth levels down in an ignored value.
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
		p.err = &phone.Error{Kind: phone.ErrMalformed, Text: fmt.Sprintf("nested deeper than %d levels at offset %d", maxDepth, p.i)}
		return false
	}
	closing := opening + 2 // holds in ASCII for [] and {}
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

// str reads a string and returns the text between its quotes.
func (p *parser) str() (raw []byte, escaped, ok bool) {
	b, start := p.b, p.i+1
	for i := start; ; {
		for len(b)-i >= word {
			m := unplain(binary.LittleEndian.Uint64(b[i:]))
			i += bits.TrailingZeros64(m) / 8
			if m != 0 {
				break
			}
		}
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

// escapes are the characters that may follow a backslash, except u; meanings are the
// characters that they stand for.
var escapes, meanings = []byte(`"\/bfnrt`), []byte("\"\\/\b\f\n\r\t")

// escapeLen returns the length of the escape at the start of b, 0 if it is not valid.
func escapeLen(b []byte) int {
	switch {
	case len(b) >= 2 && bytes.IndexByte(escapes, b[1]) >= 0:
		return 2
	case len(b) >= 6 && b[1] == 'u' && hex4(b[2:]) >= 0:
		return 6
	}
	return 0
}

// hex4 returns the first four bytes of b, read as a number in base 16, or -1.
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

// unescape appends a string with its escapes, which must be well-formed, replaced. Half a
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
