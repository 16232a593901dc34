package track

import (
	"bytes"
	"encoding/json"

	"pingline"
	"pingline/track/values"
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
	if err == nil && o.attrs != nil {
		p.Attrs, err = pingline.ParseAttrs(o.attrs)
	}
	return raw, r.line, err
}

// object holds the fields of a ping in a JSON object.
type object struct {
	rowText
	wrong [fields]bool // the field has a value of another type
	attrs []byte       // an object, or nil
}

// parse splits an object. It steps over values of other keys without a look, because
// the text was checked to be valid JSON before.
func (o *object) parse(line []byte) error {
	if !json.Valid(line) {
		var v json.RawMessage
		return lineError("not JSON: " + json.Unmarshal(line, &v).Error())
	}
	b := values.TrimLeft(line)
	if b[0] != '{' {
		return lineError("not a JSON object")
	}
	for key, value := range values.Members(b) {
		if f := fieldOf(key); f != unknown {
			o.set(f, value)
		} else if string(key) == pingline.KeyAttrs {
			o.attrs = value
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

// set sets a field to a JSON value; of two values for a key the last counts.
func (o *object) set(f field, v []byte) {
	o.rowText[f], o.wrong[f] = nil, false
	isName := f == rider || f >= device
	switch c := v[0]; {
	case c == 'n': // null
	case c == '"' && isName:
		o.rowText[f] = values.Unquote(v)
	case c == '"' && f == ts:
		o.rowText[f] = values.Unquote(v)
		o.wrong[f] = !bytes.ContainsAny(o.rowText[f], "Tt") // a number in quotes
	case (c == '-' || c >= '0' && c <= '9') && !isName:
		o.rowText[f] = v
	default:
		o.wrong[f] = true
	}
}
