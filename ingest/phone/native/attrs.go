package native

import (
	"fmt"
	"unsafe"

	"pingline"
)

var errNotAttrs = &pingline.FieldError{Field: pingline.KeyAttrs, Reason: "not an object of names and values"}

// attributes reads the object of a ping's attributes into the draft, or sets p.attrs to the
// first that is wrong. An attribute that is null is absent.
func (p *parser) attributes() bool {
	p.named, p.attrs = p.named[:0], nil
	p.i++
	if p.peek() == '}' {
		p.i++
		return true
	}
	for {
		name, ok := p.key()
		if !ok || !p.attribute(name) {
			return false
		}
		more, ok := p.more('}')
		if more {
			continue
		}
		if !ok || p.attrs != nil {
			return ok
		}
		attrs, err := p.out.Attrs(p.named)
		p.attrs = err
		p.draft.SetAttrs(attrs)
		return true
	}
}

// attribute reads the value of an attribute. Its strings are those of the body, which does not
// change while they are in use.
func (p *parser) attribute(name []byte) bool {
	var f pingline.PointField
	key := unsafe.String(unsafe.SliceData(name), len(name))
	switch c := p.peek(); {
	case c == 'n':
		return p.literal("null")
	case c == '"':
		raw, escaped, ok := p.str()
		if !ok {
			return false
		}
		if escaped {
			raw = unescape(nil, raw)
		}
		f = pingline.Text(key, unsafe.String(unsafe.SliceData(raw), len(raw)))
	case c == 't' || c == 'f':
		if !p.skip(0) {
			return false
		}
		f = pingline.Bool(key, c == 't')
	case isNumber(c):
		if !p.decimal() {
			return false
		}
		f = pingline.Float(key, p.last.float())
	default:
		if p.attrs == nil {
			p.attrs = &pingline.FieldError{Field: pingline.KeyAttrs, Reason: fmt.Sprintf("%.40q: not a number, a boolean or a string", name)}
		}
		return p.skip(0)
	}
	switch {
	case len(p.named) <= pingline.MostAttrs:
		p.named = append(p.named, f)
	case p.attrs == nil:
		p.attrs = &pingline.FieldError{Field: pingline.KeyAttrs, Reason: fmt.Sprintf("more than %d attributes", pingline.MostAttrs)}
	}
	return true
}
