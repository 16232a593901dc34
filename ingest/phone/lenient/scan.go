package lenient

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// valueKind is the kind of a value of JSON.
type valueKind uint8

const (
	missing valueKind = iota
	null
	boolean
	number
	text
	array
	object
)

// kindOf is the kind of a value by its first byte.
var kindOf = [256]valueKind{
	'n': null, 't': boolean, 'f': boolean, '"': text, '[': array, '{': object,
	'-': number, '0': number, '1': number, '2': number, '3': number, '4': number, '5': number, '6': number, '7': number, '8': number, '9': number,
}

// valueAt returns the value that begins at b[i], and the place behind it. checkJSON has checked b,
// so that there is one.
func valueAt(b []byte, i int) (v Value, behind int) {
	switch v.kind = kindOf[b[i]]; v.kind {
	case text:
		end := endOfText(b, i+1)
		v.raw = b[i+1 : end]
		return v, end + 1
	case array, object:
		behind = behindBrackets(b, i)
	default:
		for behind = i + 1; behind < len(b) && !endsWord[b[behind]]; behind++ {
		}
	}
	v.raw = b[i:behind]
	return v, behind
}

// endsWord has the bytes that end a number or a word.
var endsWord = [256]bool{',': true, ']': true, '}': true, ' ': true, '\n': true, '\t': true, '\r': true}

// endOfText returns the place of the quote that ends a text.
func endOfText(b []byte, i int) int {
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i
}

// behindBrackets returns the place behind the array or the object that begins at b[i].
func behindBrackets(b []byte, i int) int {
	for level := 0; ; i++ {
		switch b[i] {
		case '{', '[':
			level++
		case '}', ']':
			if level--; level == 0 {
				return i + 1
			}
		case '"':
			i = endOfText(b, i+1)
		}
	}
}

// meanings are the bytes that an escape of one letter stands for.
var meanings = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// appendText appends a text without its escapes. It returns false if one of them is half of a
// pair, which no UTF-8 has; U+FFFD is in its place.
func appendText(dst, raw []byte) (got []byte, whole bool) {
	whole = true
	for {
		at := bytes.IndexByte(raw, '\\')
		if at < 0 {
			return append(dst, raw...), whole
		}
		dst = append(dst, raw[:at]...)
		if raw = raw[at+1:]; raw[0] != 'u' {
			dst = append(dst, meanings[raw[0]])
			raw = raw[1:]
			continue
		}
		r := hex4(raw[1:])
		raw = raw[5:]
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				low = hex4(raw[2:])
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				whole = false
			} else {
				raw = raw[6:]
			}
		}
		dst = utf8.AppendRune(dst, r)
	}
}

// hex4 returns the number of four hexadecimal digits.
func hex4(b []byte) (r rune) {
	for _, c := range b[:4] {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
