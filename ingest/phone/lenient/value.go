// Package lenient reads what phones write, each app in its own way: numbers as strings,
// times in a dozen forms, -1 for what is not known, forms without a Content-Type, parameters
// in the query and the body.
//
// It is for protocols of apps that cannot be changed. What it cannot read is unknown, not an
// error, but for a body that is no JSON at all. A text without escapes shares the memory of
// the request, as the strings of pings may: nothing is copied to be compared.
package lenient

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"pingline/ingest/phone"
	"pingline/ingest/phone/rounding"
)

// Value is a value of JSON; the zero Value is one that is not there.
type Value struct {
	raw  []byte // of a string without its quotes
	kind valueKind
}

// Parse returns the value that a body is, or an error that wraps phone.ErrMalformed. White
// space and a byte order mark around it do not matter.
func Parse(body []byte) (Value, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	switch checkJSON(body) {
	case tooDeep:
		return Value{}, &phone.Error{Kind: phone.ErrMalformed, Text: fmt.Sprintf("the body is JSON more than %d levels deep", deepest)}
	case notJSON:
		return Value{}, &phone.Error{Kind: phone.ErrMalformed, Text: "the body is not JSON"}
	}
	v, _ := valueAt(body, 0)
	return v, nil
}

// Exists reports whether the value is there, and not null.
func (v Value) Exists() bool { return v.kind != missing && v.kind != null }

// IsObject reports whether v is an object.
func (v Value) IsObject() bool { return v.kind == object }

// IsArray reports whether v is an array.
func (v Value) IsArray() bool { return v.kind == array }

// Len returns the bytes that an array or an object has in the body.
func (v Value) Len() int { return len(v.raw) }

// Members calls f for each member of an object, in order, and for nothing else. The key is
// without its escapes, and valid until f returns. A key that is there twice is given twice.
func (v Value) Members(f func(key string, v Value)) {
	if !v.IsObject() {
		return
	}
	var memory []byte
	b, i := v.raw, blank(v.raw, 1)
	for b[i] != '}' {
		key, behind := valueAt(b, i)
		var m Value
		m, i = valueAt(b, blank(b, blank(b, behind)+1)) // behind the colon
		f(keyOf(key.raw, &memory), m)
		if i = blank(b, i); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

// keyOf returns a key without its escapes, in memory if it has any. A long key is returned as it
// is: no protocol has one.
func keyOf(raw []byte, memory *[]byte) string {
	const longest = 6 * 64
	if len(raw) > longest || bytes.IndexByte(raw, '\\') < 0 {
		return view(raw)
	}
	*memory, _ = appendText((*memory)[:0], raw)
	return view(*memory)
}

// Member returns the last member of an object with a key.
func (v Value) Member(key string) (got Value) {
	v.Members(func(k string, m Value) {
		if k == key {
			got = m
		}
	})
	return got
}

// Items calls f for each item of an array until it returns false; what is no array is an
// array of itself, or of nothing if it is not there.
func (v Value) Items(f func(item Value) bool) {
	if !v.IsArray() {
		if v.Exists() {
			f(v)
		}
		return
	}
	b, i := v.raw, blank(v.raw, 1)
	for b[i] != ']' {
		var item Value
		if item, i = valueAt(b, i); !f(item) {
			return
		}
		if i = blank(b, i); b[i] == ',' {
			i = blank(b, i+1)
		}
	}
}

// Number returns a number, also one that is written as a string; false if it is none.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case number, text:
		return Number(view(v.raw))
	}
	return 0, false
}

// Number returns the number that a text is; false if it is none, or not finite.
func Number(text string) (float64, bool) { return rounding.Parse(strings.TrimSpace(text)) }

// Optional is a number of a message that may be missing, or be there and unreadable.
type Optional struct {
	V     float64
	Given bool // it is there
	Known bool // V is its value
}

// Parse takes a text. An empty one is as if it were missing.
func (q *Optional) Parse(text string) {
	if text = strings.TrimSpace(text); text != "" {
		q.V, q.Known = Number(text)
		q.Given = true
	}
}

// Take takes a value; null is as if it were missing.
func (q *Optional) Take(v Value) {
	if v.Exists() {
		q.V, q.Known = v.Number()
		q.Given = true
	}
}

// Text returns a string, or the text of a number; else "".
func (v Value) Text() string {
	switch v.kind {
	case number:
		return view(v.raw)
	case text:
		if bytes.IndexByte(v.raw, '\\') < 0 {
			return view(v.raw)
		}
		got, ok := appendText(make([]byte, 0, len(v.raw)), v.raw)
		if !ok || !utf8.Valid(got) {
			return ""
		}
		return view(got)
	}
	return ""
}

// True reports whether v is true, the number 1, or a text that says so.
func (v Value) True() bool {
	switch v.kind {
	case boolean, text, number:
		return True(view(v.raw))
	}
	return false
}

// True reports whether a text is true or 1.
func True(text string) bool { return strings.EqualFold(text, "true") || text == "1" }

// view returns a string that shares the memory of b: that of a request, which nobody changes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Most is the Bound of a protocol whose bodies are JSON: each ping is an object of its own.
// A text with escapes is copied, and so is a key, for which 64 bytes are counted.
func Most(r *phone.Request) (pings, copied int) {
	n := len(r.Body)
	return bytes.Count(r.Body, []byte("{")), min(n+64*bytes.Count(r.Body, []byte(`\`)), 15*n)
}
