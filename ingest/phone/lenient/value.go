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
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/buger/jsonparser"

	"pingline/ingest/phone"
)

// Value is a value of JSON; the zero Value is one that is not there.
type Value struct {
	raw  []byte // of a string without its quotes
	kind jsonparser.ValueType
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
	raw, kind, _, err := jsonparser.Get(body)
	if err != nil {
		return Value{}, &phone.Error{Kind: phone.ErrMalformed, Text: "the body is not JSON"}
	}
	return Value{raw, kind}, nil
}

// Exists reports whether the value is there, and not null.
func (v Value) Exists() bool { return v.kind != jsonparser.NotExist && v.kind != jsonparser.Null }

// IsObject reports whether v is an object.
func (v Value) IsObject() bool { return v.kind == jsonparser.Object }

// IsArray reports whether v is an array.
func (v Value) IsArray() bool { return v.kind == jsonparser.Array }

// Members calls f for each member of an object, in order, and for nothing else. The key is
// without its escapes, and valid until f returns. A key that is there twice is given twice.
func (v Value) Members(f func(key string, v Value)) {
	if !v.IsObject() {
		return
	}
	_ = jsonparser.ObjectEach(v.raw, func(key, value []byte, kind jsonparser.ValueType, _ int) error { // it was checked by Parse
		f(view(key), Value{value, kind})
		return nil
	})
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
	more := true
	_, _ = jsonparser.ArrayEach(v.raw, func(item []byte, kind jsonparser.ValueType, _ int, _ error) { // it was checked by Parse
		if more {
			more = f(Value{item, kind})
		}
	})
}

// Number returns a number, also one that is written as a string; false if it is none.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case jsonparser.Number, jsonparser.String:
		return Number(view(v.raw))
	}
	return 0, false
}

// Number returns the number that a text is; false if it is none, or not finite.
func Number(text string) (float64, bool) {
	f, err := strconv.ParseFloat(shortened(strings.TrimSpace(text)), 64)
	return f, err == nil && f-f == 0
}

// shortened returns a number without the digits of its fraction that no receiver has: rounding
// hundreds of digits exactly is slow.
func shortened(text string) string {
	const most = 19 // digits that a uint64 holds
	if len(text) <= most+2 {
		return text
	}
	dot := strings.IndexByte(text, '.')
	if dot < 0 || dot > most || strings.Trim(text[dot+1:], "0123456789") != "" {
		return text
	}
	return text[:most+1]
}

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
	case jsonparser.Number:
		return view(v.raw)
	case jsonparser.String:
		if bytes.IndexByte(v.raw, '\\') < 0 {
			return view(v.raw)
		}
		text, err := jsonparser.ParseString(v.raw)
		if err != nil || !utf8.ValidString(text) {
			return ""
		}
		return text
	}
	return ""
}

// True reports whether v is true, the number 1, or a text that says so.
func (v Value) True() bool {
	switch v.kind {
	case jsonparser.Boolean, jsonparser.String, jsonparser.Number:
		return True(view(v.raw))
	}
	return false
}

// True reports whether a text is true or 1.
func True(text string) bool { return strings.EqualFold(text, "true") || text == "1" }

// view returns a string that shares the memory of b: that of a request, which nobody changes.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Most is the Bound of a protocol whose bodies are JSON: each ping is an object of its own.
// A key with escapes takes 64 bytes, another text with escapes as many as it has.
func Most(r *phone.Request) (pings, copied int) {
	n := len(r.Body)
	return bytes.Count(r.Body, []byte("{")), min(n+64*bytes.Count(r.Body, []byte(`\`)), 15*n)
}
