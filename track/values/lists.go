// Package values reads JSON documents value by value: the elements of lists in a stream,
// and the parts of a value whose text is known to be valid.
//
// It promises to hold no more of a stream than an element, that an element which is not
// JSON or too long does not stop it from reading on, and to know in which line an element
// starts. It does not build trees: a caller walks over the text.
package values

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"pingline"
)

// cursor reads JSON value by value, and counts lines.
type cursor struct {
	in   *bufio.Reader
	line int    // from 1
	text []byte // the value read last
}

func (c *cursor) byte() (byte, error) {
	b, err := c.in.ReadByte()
	if b == '\n' {
		c.line++
	}
	return b, err
}

// peek returns the next byte that is no white space, and leaves it.
func (c *cursor) peek() (byte, error) {
	for {
		b, err := c.byte()
		if err != nil {
			return 0, err
		}
		if b > ' ' {
			return b, c.in.UnreadByte()
		}
	}
}

// value reads a value of at most limit bytes, which is good until the next one is read.
// A longer value and one that is not JSON are skipped, up to where they end by their
// brackets: the error is a pingline.ErrInvalid then.
func (c *cursor) value(limit int) ([]byte, error) {
	first, err := c.peek()
	if err != nil {
		return nil, err
	}
	depth, inString, tooLong := 0, false, false
	for c.text = c.text[:0]; ; {
		b, err := c.byte()
		if err != nil {
			return nil, unexpected(err)
		}
		if !inString && depth == 0 && (b <= ' ' || b == ',' || b == ':' || b == ']' || b == '}') && first != '"' {
			if b == '\n' {
				c.line--
			}
			if err := c.in.UnreadByte(); err != nil {
				return nil, err
			}
			break // behind a number or word
		}
		if tooLong = tooLong || len(c.text) >= limit; !tooLong {
			c.text = append(c.text, b)
		}
		switch {
		case inString && b == '\\':
			if b, err = c.byte(); err != nil {
				return nil, unexpected(err)
			}
			c.text = append(c.text, b)
		case b == '"':
			inString = !inString
		case inString:
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			depth--
		}
		if depth == 0 && !inString && (first == '"' || first == '{' || first == '[') {
			break
		}
	}
	switch {
	case tooLong:
		c.text = c.text[:0]
		return nil, refusal(fmt.Sprintf("a value of more than %d MiB", limit>>20))
	case !json.Valid(c.text):
		var v json.RawMessage
		return nil, refusal("not JSON: " + json.Unmarshal(c.text, &v).Error())
	}
	return c.text, nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const (
	maxValue = 16 << 20 // bytes of one element; a line of GeoJSON has a day in 5 MB
	maxKey   = 1 << 10
)

// Lists reads the elements of lists, one after the other: of those that objects have
// under keys that are wanted, and of a list that is a document itself. A document may
// be several objects or lists. What else an object has is skipped.
type Lists struct {
	cursor
	wanted []string
	owned  []string // keys of members that are returned as an object of their own, when their object ends
	key    string   // of the list that is read; "" if it is the document itself
	own    []byte   // the members that are owned, between commas
	within within
}

type within int

const (
	inDocument within = iota
	inObject
	inList         // that is a document
	inListOfObject // under key
)

// NewLists returns a reader of in: of the lists with the keys wanted, and, as an object
// of their own when their object ends, of the members with the keys owned.
func NewLists(in *bufio.Reader, wanted, owned []string) *Lists {
	return &Lists{cursor: cursor{in: in, line: 1}, wanted: wanted, owned: owned}
}

// Next returns the key of a list and its next element, which is good until the next
// one is read, and the line that it starts in. It returns io.EOF behind the last one,
// and a pingline.ErrInvalid about an element that it has skipped.
func (l *Lists) Next() (key string, text []byte, line int, err error) {
	for {
		c, err := l.peek()
		if err == io.EOF && l.within == inDocument {
			return "", nil, l.line, io.EOF
		}
		if err != nil {
			return "", nil, l.line, fmt.Errorf("read JSON: %w", unexpected(err))
		}
		if closes := (c == ']' && l.within >= inList) || c == '}' && l.within == inObject; closes || c == ',' && l.within != inDocument {
			_, _ = l.byte() // it was there
			if closes && l.close() {
				return "", append(append([]byte{'{'}, l.own...), '}'), l.line, nil
			}
			continue
		}
		switch l.within {
		case inDocument:
			if c != '{' && c != '[' {
				return "", nil, l.line, fmt.Errorf("read JSON: %q where an object or a list should begin", c)
			}
			_, _ = l.byte()
			l.key, l.own = "", l.own[:0]
			if l.within = inObject; c == '[' {
				l.within = inList
			}
		case inObject:
			if err := l.member(); err != nil {
				return "", nil, l.line, fmt.Errorf("read JSON: %w", unexpected(err))
			}
		default:
			if c == '}' || c == ':' {
				return "", nil, l.line, fmt.Errorf("read JSON: %q where an element of a list should begin", c)
			}
			line := l.line
			text, err := l.value(maxValue)
			if err != nil && !isInvalid(err) {
				err = fmt.Errorf("read JSON: %w", unexpected(err))
			}
			return l.key, text, line, err
		}
	}
}

// close leaves a list or an object, and reports whether the object has members of
// its own.
func (l *Lists) close() bool {
	was := l.within
	if l.within = inDocument; was == inListOfObject {
		l.within = inObject
	}
	return was == inObject && len(l.own) > 0
}

// member reads a member of an object, or goes into it if it is a list to be read.
func (l *Lists) member() error {
	name, err := l.value(maxKey)
	if err != nil && !isInvalid(err) {
		return err
	}
	key := ""
	if len(name) > 0 && name[0] == '"' {
		key = string(Unquote(name))
	}
	if c, err := l.peek(); err != nil || c != ':' {
		return cmp.Or(err, fmt.Errorf("no value behind the key %q", key))
	}
	_, _ = l.byte()
	c, err := l.peek()
	switch {
	case err != nil:
		return err
	case c == '[' && slices.Contains(l.wanted, key):
		_, _ = l.byte()
		l.key, l.within = key, inListOfObject
		return nil
	case c == ',' || c == '}' || c == ']':
		return fmt.Errorf("no value behind the key %q", key)
	}
	limit := 0
	if slices.Contains(l.owned, key) {
		limit = maxValue
	}
	text, err := l.value(limit)
	if limit > 0 && err == nil && len(l.own)+len(text) <= maxValue {
		if len(l.own) > 0 {
			l.own = append(l.own, ',')
		}
		l.own = append(append(append(l.own, '"'), key...), `":`...)
		l.own = append(l.own, text...)
	}
	if isInvalid(err) {
		err = nil // it is of no use, or will be missed
	}
	return err
}

func isInvalid(err error) bool { return errors.Is(err, pingline.ErrInvalid) }

// Members returns the keys of a valid JSON object and their values.
func Members(object []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		b := TrimLeft(object)
		if b[0] != '{' {
			return
		}
		for b = TrimLeft(b[1:]); b[0] != '}'; {
			n := Len(b)
			key := Unquote(b[:n])
			b = TrimLeft(TrimLeft(b[n:])[1:]) // the colon
			n = Len(b)
			if !yield(key, b[:n]) {
				return
			}
			if b = TrimLeft(b[n:]); b[0] == ',' {
				b = TrimLeft(b[1:])
			}
		}
	}
}

// Opened returns what is behind the bracket of a valid JSON list, nil if it is no list.
func Opened(list []byte) []byte {
	if list = TrimLeft(list); len(list) > 0 && list[0] == '[' {
		return list[1:]
	}
	return nil
}

// Element cuts the next element off what Opened returned; ok is false behind the last.
func Element(list []byte) (text, rest []byte, ok bool) {
	list = TrimLeft(list)
	if len(list) > 0 && list[0] == ',' {
		list = TrimLeft(list[1:])
	}
	if len(list) == 0 || list[0] == ']' {
		return nil, nil, false
	}
	n := Len(list)
	return list[:n], list[n:], true
}

// Text returns the text of a string, the digits of a number, and nil of any other
// valid JSON value.
func Text(value []byte) []byte {
	switch value = bytes.TrimSpace(value); {
	case len(value) > 0 && value[0] == '"':
		return Unquote(value)
	case len(value) > 0 && (value[0] == '-' || value[0] >= '0' && value[0] <= '9'):
		return value
	}
	return nil
}

// refusal is an error about an element.
type refusal string

func (e refusal) Error() string { return string(e) }

func (e refusal) Unwrap() error { return pingline.ErrInvalid }
