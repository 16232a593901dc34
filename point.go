package pingline

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Point is one row of a series that is not a ping: a total of the roll-up, or a
// count of the node itself. A store writes it in its own form, as it does pings.
type Point struct {
	Name   string       // of the series, such as cell_activity
	Tags   []Tag        // tell rows of the same At apart; in ascending order of key
	Fields []PointField // at least one, each key once
	At     int64        // ms since 1970 UTC
}

// Tag is a key and a value, neither empty, of a point's identity.
type Tag struct{ Key, Value string }

// PointField is a value of a point, made by Int, Float, Text or Bool.
type PointField struct {
	Key  string
	Type FieldType
	bits uint64 // the number; of a bool 0 or 1
	text string
}

// FieldType is the type of a field's value.
type FieldType uint8

// The types of fields, as the log numbers them.
const (
	IntField FieldType = iota + 1
	FloatField
	TextField
	BoolField
)

// Int returns a field that is an integer.
func Int(key string, v int64) PointField {
	return PointField{Key: key, Type: IntField, bits: uint64(v)}
}

// Float returns a field that is a number; Validate refuses it unless v is finite.
func Float(key string, v float64) PointField {
	return PointField{Key: key, Type: FloatField, bits: math.Float64bits(v)}
}

// Text returns a field that is a string.
func Text(key, v string) PointField { return PointField{Key: key, Type: TextField, text: v} }

// Bool returns a field that is true or false.
func Bool(key string, v bool) PointField {
	f := PointField{Key: key, Type: BoolField}
	if v {
		f.bits = 1
	}
	return f
}

// Int returns the value of an IntField.
func (f *PointField) Int() int64 { return int64(f.bits) }

// Float returns the value of a FloatField.
func (f *PointField) Float() float64 { return math.Float64frombits(f.bits) }

// Text returns the value of a TextField.
func (f *PointField) Text() string { return f.text }

// Bool returns the value of a BoolField.
func (f *PointField) Bool() bool { return f.bits != 0 }

// Bits returns a number or a bool as bits, 0 for a TextField.
func (f *PointField) Bits() uint64 { return f.bits }

// MaxPoint bounds a point, in bytes as Size counts them.
const MaxPoint = 4 << 10

// numberSize bounds a number or bool as text, with its suffix.
const numberSize = 25

// Size returns a bound on the bytes of a point in the log and as text. It counts a
// byte of text twice, because a store may have to escape it, and a number with all
// its digits.
func (p *Point) Size() int {
	n := 2*len(p.Name) + 2 + numberSize
	for i := range p.Tags {
		n += 2*len(p.Tags[i].Key) + 2*len(p.Tags[i].Value) + 2
	}
	for i := range p.Fields {
		f := &p.Fields[i]
		n += 2*len(f.Key) + 2 + max(2*len(f.text)+3, numberSize)
	}
	return n
}

// Validate returns nil if p can be stored, or an error that names its faulty part.
// Names, keys and texts are UTF-8 without control characters; only the text of a
// field may be empty or end in a backslash; a name does not begin with a hash sign.
func (p *Point) Validate() error {
	if n := p.Size(); n > MaxPoint {
		return fmt.Errorf("point %.32q: %d bytes, more than %d", p.Name, n, MaxPoint)
	}
	if !plain(p.Name) || p.Name[0] == '#' {
		return fmt.Errorf("point: name %q", p.Name)
	}
	if len(p.Fields) == 0 || len(p.Fields) > math.MaxUint8 || len(p.Tags) > math.MaxUint8 {
		return fmt.Errorf("point %s: %d fields, not in [1, 255], or %d tags, more than 255", p.Name, len(p.Fields), len(p.Tags))
	}
	for i := range p.Tags {
		switch t := &p.Tags[i]; {
		case !plain(t.Key) || !plain(t.Value):
			return fmt.Errorf("point %s: tag %q of value %q", p.Name, t.Key, t.Value)
		case i > 0 && t.Key <= p.Tags[i-1].Key:
			return fmt.Errorf("point %s: tag %s behind %s", p.Name, t.Key, p.Tags[i-1].Key)
		}
	}
	for i := range p.Fields {
		if err := p.Fields[i].validate(); err != nil {
			return fmt.Errorf("point %s: %w", p.Name, err)
		}
	}
	return nil
}

func (f *PointField) validate() error {
	switch {
	case !plain(f.Key):
		return fmt.Errorf("field %q", f.Key)
	case f.Type < IntField || f.Type > BoolField:
		return fmt.Errorf("field %s: no value of type %d", f.Key, f.Type)
	case f.Type == FloatField && (math.IsNaN(f.Float()) || math.IsInf(f.Float(), 0)):
		return fmt.Errorf("field %s: %v is not finite", f.Key, f.Float())
	case f.Type == TextField && !clean(f.text):
		return fmt.Errorf("field %s: control characters, or no UTF-8, in %q", f.Key, f.text)
	}
	return nil
}

// plain reports whether s can be a name, a key or the value of a tag.
func plain(s string) bool {
	return s != "" && s[len(s)-1] != '\\' && clean(s)
}

func clean(s string) bool {
	control := func(c rune) bool { return c < ' ' || c == 0x7f }
	return utf8.ValidString(s) && !strings.ContainsFunc(s, control)
}

// Clone returns a copy of p with memory of its own.
func (p *Point) Clone() *Point {
	c := &Point{Name: strings.Clone(p.Name), Tags: slices.Clone(p.Tags), Fields: slices.Clone(p.Fields), At: p.At}
	for i := range c.Tags {
		c.Tags[i] = Tag{strings.Clone(c.Tags[i].Key), strings.Clone(c.Tags[i].Value)}
	}
	for i := range c.Fields {
		c.Fields[i].Key, c.Fields[i].text = strings.Clone(c.Fields[i].Key), strings.Clone(c.Fields[i].text)
	}
	return c
}

// Equal reports whether p and q have equal values.
func (p *Point) Equal(q *Point) bool {
	return p.Name == q.Name && p.At == q.At && slices.Equal(p.Tags, q.Tags) && slices.Equal(p.Fields, q.Fields)
}
