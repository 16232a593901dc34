package track

import (
	"bytes"
	"encoding/json"

	"pingline"
)

// ndjson reads one JSON object a line. Blank lines are skipped; keys, types
// and null are as in POST /v1/pings.
type ndjson struct {
	lines
	names names
}

func (r *ndjson) header() []byte { return nil }

func (r *ndjson) next(p *pingline.Ping) (raw []byte, line int, err error) {
	if raw, err = r.filled(); err != nil {
		return nil, r.line, err
	}
	var o object
	if err = o.parse(raw); err == nil {
		err = o.ping(p, &r.names)
	}
	return raw, r.line, err
}

// object is the fields of a JSON object that are a ping's.
type object struct {
	rowText
	wrong [fields]bool // the field has a value of another type
}

// parse splits one object. What it is not asked for it only steps over: the
// text is known to be valid by then.
func (o *object) parse(line []byte) error {
	if !json.Valid(line) {
		var v json.RawMessage
		return lineError("not JSON: " + json.Unmarshal(line, &v).Error())
	}
	b := trimLeft(line)
	if b[0] != '{' {
		return lineError("not a JSON object")
	}
	for b = trimLeft(b[1:]); b[0] != '}'; {
		n := valueLen(b)
		f := fieldOf(unquote(b[:n]))
		b = trimLeft(trimLeft(b[n:])[1:]) // the colon
		n = valueLen(b)
		if f != unknown {
			o.set(f, b[:n])
		}
		if b = trimLeft(b[n:]); b[0] == ',' {
			b = trimLeft(b[1:])
		}
	}
	for f, wrong := range o.wrong {
		if wrong && field(f) == ts {
			return errTime
		}
		if wrong {
			return wrongType(field(f))
		}
	}
	return nil
}

// set sets a field to a JSON value; of two the last counts.
func (o *object) set(f field, v []byte) {
	o.rowText[f], o.wrong[f] = nil, false
	isName := f == rider || f >= device
	switch c := v[0]; {
	case c == 'n': // null
	case c == '"' && isName:
		o.rowText[f] = unquote(v)
	case c == '"' && f == ts:
		o.rowText[f] = unquote(v)
		o.wrong[f] = !bytes.ContainsAny(o.rowText[f], "Tt") // a number in quotes
	case (c == '-' || c >= '0' && c <= '9') && !isName:
		o.rowText[f] = v
	default:
		o.wrong[f] = true
	}
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// valueLen returns the length of the JSON value that valid JSON goes on with.
func valueLen(b []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString:
			switch c {
			case '\\':
				i++
			case '"':
				if inString = false; depth == 0 {
					return i + 1
				}
			}
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i // behind a number or word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case depth == 0 && (c == ',' || c == ':' || c <= ' '):
			return i
		}
	}
	return len(b)
}

// unquote returns the text of a valid JSON string.
func unquote(v []byte) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return []byte{}
	}
	return []byte(s)
}
