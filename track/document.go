package track

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pingline"
	"pingline/track/values"
)

// formOfJSON tells whether JSON is a ping a line, or a document: an array, an object
// with the key pings, a ping that goes over lines, or what another program has written.
func formOfJSON(in *bufio.Reader) Form {
	start, _ := in.Peek(bufferSize) // the next read returns the error again
	start = values.TrimLeft(start)
	if form := formByKeys(start); form != "" {
		return form
	}
	if len(start) == 0 || start[0] != '{' {
		if len(start) > 0 && start[0] == '[' {
			return Document
		}
		return NDJSON
	}
	line, rest, whole := bytes.Cut(start, []byte("\n"))
	next, _, _ := bytes.Cut(values.TrimLeft(rest), []byte("\n"))
	switch line = bytes.TrimRight(line, " \t\r"); {
	case json.Valid(line):
		var wrapper struct{ Pings []json.RawMessage }
		if json.Unmarshal(line, &wrapper) == nil && wrapper.Pings != nil {
			return Document
		}
	case !whole: // a line longer than the buffer
		if key, _, ok := bytes.Cut(values.TrimLeft(line[1:]), []byte(":")); ok && string(bytes.TrimSpace(key)) == `"pings"` {
			return Document
		}
	case bytes.IndexByte([]byte("{[:,"), line[len(line)-1]) >= 0 && !(bytes.HasPrefix(next, []byte("{")) && json.Valid(next)): // the value goes on in the next line: the line is not just cut off
		return Document
	}
	return NDJSON
}

// document reads JSON values as POST /v1/pings takes them: an array of pings, an object
// {"pings": [...]}, or a ping. An element of an array that is no ping is refused alone.
type document struct {
	in      *bufio.Reader
	line    int
	inArray bool
	wrapped bool // the array is in an object
	value   []byte
	names   names
}

func newDocument(in *bufio.Reader) *document { return &document{in: in, line: 1} }

func (d *document) header() []byte { return nil }

func (d *document) next(p *pingline.Ping) ([]byte, int, error) {
	for {
		c, err := d.byte()
		if err == io.EOF && !d.inArray {
			return nil, d.line, io.EOF
		}
		if err == nil {
			var found bool
			begin := d.line
			if found, err = d.take(c); found {
				if err == nil {
					err = d.ping(p)
				}
				return nil, begin, err
			}
		}
		if err != nil {
			return nil, d.line, d.broken(err)
		}
	}
}

// broken returns the error for a document that cannot be read any further.
func (d *document) broken(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read JSON: %w", err)
}

func (d *document) byte() (byte, error) {
	c, err := d.in.ReadByte()
	if c == '\n' {
		d.line++
	}
	return c, err
}

// take goes on from the character c between two values. It reports whether it found a
// value, or returns the refusal of a value.
func (d *document) take(c byte) (found bool, err error) {
	switch {
	case c <= ' ' || c == ',' && d.inArray:
		return false, nil
	case c == '{':
		opened, err := d.object(c, 0)
		if errors.Is(err, pingline.ErrInvalid) {
			return true, err
		}
		return !opened && err == nil, err
	case c == '[' && !d.inArray:
		d.inArray = true
		return false, nil
	case c == ']' && d.inArray:
		d.inArray = false
		if d.wrapped { // the rest of the object, behind its pings, is skipped
			d.wrapped = false
			_, err = d.object(' ', 1)
			if errors.Is(err, pingline.ErrInvalid) {
				err = nil // the rest is too long for value, and not needed
			}
		}
		return false, err
	case d.inArray:
		return true, d.other(c)
	}
	return false, fmt.Errorf("%q where a ping should begin", c)
}

// object reads an object into value, from its character c at the given depth of
// brackets. It skips an object that is too long and returns errTooLong. Behind the
// opening bracket of an array with the key pings it stops with opened true.
func (d *document) object(c byte, depth int) (opened bool, err error) {
	inString, tooLong := false, false
	for d.value = d.value[:0]; ; {
		if tooLong = tooLong || len(d.value) >= maxLine; !tooLong {
			d.value = append(d.value, c)
		}
		switch {
		case inString && c == '\\':
			if c, err = d.byte(); err != nil {
				return false, err
			}
			d.value = append(d.value, c)
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' && depth == 1 && !d.inArray && d.behindPings():
			d.inArray, d.wrapped = true, true
			return true, nil
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
		if depth == 0 && tooLong {
			return false, errTooLong
		}
		if depth == 0 {
			return false, nil
		}
		if c, err = d.byte(); err != nil {
			return false, err
		}
	}
}

// behindPings tells whether value ends in the key pings and a bracket.
func (d *document) behindPings() bool {
	key, ok := bytes.CutSuffix(bytes.TrimSpace(d.value[:len(d.value)-1]), []byte(":"))
	return ok && bytes.HasSuffix(bytes.TrimSpace(key), []byte(`"pings"`))
}

// other skips a value of an array that is no object.
func (d *document) other(c byte) error {
	if c == '[' {
		if _, err := d.object(' ', 1); err != nil && !errors.Is(err, pingline.ErrInvalid) {
			return d.broken(err)
		}
	}
	for { // a string with a comma is skipped in two parts
		next, err := d.in.Peek(1)
		if err != nil {
			return d.broken(err)
		}
		if next[0] == ',' || next[0] == ']' {
			return lineError("not a JSON object")
		}
		_, _ = d.byte() // Peek has seen it: no error
	}
}

func (d *document) ping(p *pingline.Ping) error {
	var o object
	if err := o.parse(d.value); err != nil {
		return err
	}
	return o.ping(p, &d.names)
}
