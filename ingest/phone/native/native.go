// Package native is Pingline's own protocol: POST /v1/pings with pings as JSON or
// NDJSON, answered with a count of each verdict.
//
// Every ping in a body gets a single verdict. A body is read in a single pass, without a
// copy, unless a string in it has an escape. Its form is told by its first bytes, never
// by its Content-Type. Whether a broken body is refused as a whole may depend on its
// second line; see Decode.
package native

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"pingline"
	"pingline/ingest/phone"
)

// Protocol is POST /v1/pings.
var Protocol = phone.Protocol{
	Name:     "native",
	Routes:   []string{"POST /v1/pings"},
	Bound:    bound,
	Decode:   Decode,
	Reply:    reply,
	Unjudged: true,
}

// bound counts the braces, each of which may begin a ping, or attributes if it is behind a
// colon. Strings with escapes are copied.
func bound(r *phone.Request) (pings, copied int) {
	if bytes.IndexByte(r.Body, '\\') >= 0 {
		copied = len(r.Body)
	}
	attrs := 0
	for b := r.Body; ; pings++ {
		i := bytes.IndexByte(b, '{')
		if i < 0 {
			return pings, copied + min(attrs*pingline.MaxAttrs, 2*len(r.Body)) // a number is 8 bytes, and 1 in a body
		}
		if before := bytes.TrimRight(b[max(i-8, 0):i], space); pings > 0 && (len(before) == 0 || before[len(before)-1] == ':') {
			attrs++
		}
		b = b[i+1:]
	}
}

// Decode reads the pings of a body. The strings of the pings may share the body's
// memory.
//
// A body has one of four forms, told by its first bytes; white space and a
// UTF-8 byte order mark before them are skipped.
//
//   - [ starts an array of pings.
//   - { starts an object, on one line or many, if all of the body is one object. With
//     the key "pings" it is a list, empty if its value is null; else it is a ping.
//   - Any other body is lines, if the second line that is not blank starts with {
//     or the first is a complete object. Otherwise it is broken.
//
// Each line is kept or rejected by itself; a body of another form is kept whole or, at
// an error of syntax, not at all. The second line tells lines from a broken object,
// because objects are printed without a line break before {, except in a list. So a
// broken first line that names "pings" makes the body a broken list.
//
// A body without pings is no error.
func Decode(r *phone.Request, to *phone.Pings) error {
	p := parser{b: r.Body, out: to, follows: documented}
	err := p.body()
	if errors.Is(err, phone.ErrMalformed) {
		return cmp.Or(compressed(r), err)
	}
	return err
}

// compressed returns an error if a body that cannot be read is still compressed: no header
// said that it was, or it was compressed twice.
func compressed(r *phone.Request) error {
	for _, c := range [...]struct{ name, magic string }{{"gzip", "\x1f\x8b"}, {"zstd", "\x28\xb5\x2f\xfd"}} {
		if len(r.Body) < len(c.magic) || string(r.Body[:len(c.magic)]) != c.magic {
			continue
		}
		text := fmt.Sprintf("the body is compressed: add the header Content-Encoding: %s", c.name)
		if r.Header != nil && r.Header.Get("Content-Encoding") != "" {
			text = fmt.Sprintf("the body is %s even after it was decompressed: compress it once", c.name)
		}
		return &phone.Error{Kind: phone.ErrMalformed, Text: text}
	}
	return nil
}

// syntaxError is an error of JSON at a place in a body, or in a line of it.
type syntaxError struct {
	offset int
	want   string
	got    byte
	atEnd  bool // at the end: there is no got
}

func (e *syntaxError) Error() string {
	got := "the end"
	if !e.atEnd {
		got = strconv.Quote(string([]byte{e.got}))
	}
	return fmt.Sprintf("syntax error at offset %d: want %s, got %s", e.offset, e.want, got)
}

func (e *syntaxError) Unwrap() error { return phone.ErrMalformed }

// reply answers with the number of pings of each verdict and, if the query asks
// with verdicts=1, the verdict of each. Pings without a verdict are listed, to be sent
// again.
func reply(to *phone.Reply, r *phone.Request, got *phone.Outcome) {
	if got.Err != nil {
		to.Refuse(got.Err)
		return
	}
	to.ContentType = "application/json"
	if got.Pings.Received > 0 && len(got.Judged) == 0 && got.Pings.Withheld() == 0 {
		to.Status = 400
		to.Body = append(to.Body, `{"error":"every ping was rejected"`...)
	} else {
		to.Body = appendVerdicts(to.Body, r, got)
	}
	if list := got.Pings.Correction; len(list) > 0 {
		to.Body = appendList(append(to.Body, `,"corrected":`...), list)
	}
	to.Body = appendList(append(to.Body, `,"errors":`...), got.Errors())
	if got.Away != nil {
		to.Status = 207
		to.Body = appendRetry(to.Body, got)
	}
	to.Body = append(to.Body, '}')
}

// appendRetry appends why pings have no verdict, and their positions in the request.
func appendRetry(out []byte, got *phone.Outcome) []byte {
	why, err := json.Marshal(got.Away.Error())
	if err != nil {
		panic(err) // a string always marshals
	}
	out = append(append(append(out, `,"error":`...), why...), `,"retry":[`...)
	separator := ""
	for i, v := range got.Judged {
		if v == 0 {
			out = strconv.AppendInt(append(out, separator...), int64(got.Pings.Index[i]), 10)
			separator = ","
		}
	}
	return append(out, ']')
}

func appendVerdicts(out []byte, r *phone.Request, got *phone.Outcome) []byte {
	counts := got.Counts()
	out = append(out, '{')
	for v := pingline.Accepted; int(v) < pingline.Verdicts; v++ {
		out = append(append(append(out, '"'), v.String()...), `":`...)
		out = append(strconv.AppendInt(out, int64(counts[v]), 10), ',')
	}
	if got.Away != nil {
		out = append(strconv.AppendInt(append(out, `"unavailable":`...), int64(counts[0]), 10), ',')
	}
	out = strconv.AppendFloat(append(out, `"max_error":`...), got.MaxError, 'f', -1, 64)
	out = strconv.AppendFloat(append(out, `,"accuracy_cap":`...), got.AccuracyCap, 'f', -1, 64)
	if !asksVerdicts(r.Query) {
		return out
	}
	out = append(out, `,"verdicts":[`...)
	for i, v := range got.Verdicts() {
		if i > 0 {
			out = append(out, ',')
		}
		name := v.String()
		if v == 0 {
			name = "unavailable"
		}
		out = append(append(append(out, '"'), name...), '"')
	}
	return append(out, ']')
}

func asksVerdicts(query string) bool {
	if query == "" {
		return false
	}
	values, _ := url.ParseQuery(query) // as far as it can be read
	return values.Get("verdicts") == "1"
}

func appendList[T phone.Rejection | phone.Correction](out []byte, list []T) []byte {
	if len(list) == 0 {
		return append(out, "[]"...)
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // numbers and strings always marshal
	}
	return append(out, text...)
}
