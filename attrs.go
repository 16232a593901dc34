package pingline

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Attrs are the attributes of a ping: named numbers, booleans and short strings of the
// sender's own, "" if it has none. They are a string, so that a ping without them costs
// nothing and two pings are compared by ==; equal attributes are equal strings.
//
// In ascending order of name, each attribute is
//
//	u8 length, name
//	u8 1 number, f64 little endian; 2 false; 3 true; 4 string, u8 length and bytes
//
// AppendAttrs makes them, and a reader of the log or of a store checks them: other code
// may rely on their form.
type Attrs string

// The limits of a ping's attributes.
const (
	MostAttrs   = 16
	MaxAttrName = 32      // bytes of a name
	MaxAttrText = 64      // bytes of a string
	MaxAttrs    = 1 << 10 // bytes of all attributes of a ping, as Attrs has them
)

const (
	attrNumber = iota + 1
	attrFalse
	attrTrue
	attrText
)

// KeyAttrs is the key of the attributes in a ping's JSON form, where they are an object.
const KeyAttrs = "attrs"

// reserved reports whether a name is a column that stores have for a ping, besides the keys
// of its JSON form.
func reserved(name string) bool {
	switch name {
	case KeyAttrs, "at", "cell", "clock", "device", "known", "late", "rider", "skipped", "time", "trip":
		return true
	}
	return false
}

// CheckAttrName returns a *FieldError unless s is [A-Za-z_][A-Za-z0-9_]{0,31} and not the
// name of a field that every ping has.
func CheckAttrName(s string) error {
	if len(s) == 0 || len(s) > MaxAttrName {
		return attrError(s, fmt.Sprintf("a name of %d bytes, not in [1, %d]", len(s), MaxAttrName))
	}
	for i := range len(s) {
		if c := s[i]; !(c|0x20 >= 'a' && c|0x20 <= 'z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return attrError(s, "a name has letters, digits and _ only, and no digit first")
		}
	}
	if _, own := KeyOf([]byte(s)); own || reserved(s) {
		return attrError(s, "the name of a field of its own: use another")
	}
	return nil
}

func attrError(name, reason string) error {
	return &FieldError{KeyAttrs, fmt.Sprintf("%.40q: %s", name, reason)}
}

// AppendAttrs appends the Attrs of some fields to dst; it sorts the fields. Each is made by
// Float, Bool or Text, or by Int, which is a number like any other. An error is a *FieldError
// that names the attribute and its limit; dst is as it was.
func AppendAttrs(dst []byte, list []PointField) ([]byte, error) {
	if len(list) > MostAttrs {
		return dst, &FieldError{KeyAttrs, fmt.Sprintf("%d attributes, more than %d", len(list), MostAttrs)}
	}
	if len(list) > 1 {
		sortAttrs(list)
	}
	start := len(dst)
	for i := range list {
		f := &list[i]
		err := CheckAttrName(f.Key)
		switch {
		case err != nil:
		case i > 0 && list[i-1].Key == f.Key:
			err = attrError(f.Key, "it comes twice")
		default:
			err = f.checkAttr()
		}
		if err != nil {
			return dst[:start], err
		}
		dst = f.appendAttr(dst)
	}
	if n := len(dst) - start; n > MaxAttrs {
		return dst[:start], &FieldError{KeyAttrs, fmt.Sprintf("%d bytes of names and values, more than %d", n, MaxAttrs)}
	}
	return dst, nil
}

// NewAttrs is AppendAttrs with memory of its own.
func NewAttrs(list ...PointField) (Attrs, error) {
	b, err := AppendAttrs(nil, list)
	return Attrs(b), err
}

// sortAttrs sorts by insertion: senders write the same few names in the same order.
func sortAttrs(list []PointField) {
	for i := 1; i < len(list); i++ {
		for k := i; k > 0 && list[k].Key < list[k-1].Key; k-- {
			list[k], list[k-1] = list[k-1], list[k]
		}
	}
}

func (f *PointField) checkAttr() error {
	switch {
	case f.Type == FloatField && (math.IsNaN(f.Float()) || math.IsInf(f.Float(), 0)):
		return attrError(f.Key, "not a finite number")
	case f.Type != TextField:
		return nil
	case len(f.text) > MaxAttrText:
		return attrError(f.Key, fmt.Sprintf("a string of %d bytes, more than %d", len(f.text), MaxAttrText))
	case !utf8.ValidString(f.text):
		return attrError(f.Key, "a string that is not UTF-8")
	case strings.ContainsFunc(f.text, unicode.IsControl):
		return attrError(f.Key, "a control character in a string")
	}
	return nil
}

func (f *PointField) appendAttr(dst []byte) []byte {
	dst = append(append(dst, byte(len(f.Key))), f.Key...)
	switch f.Type {
	case TextField:
		return append(append(dst, attrText, byte(len(f.text))), f.text...)
	case BoolField:
		return append(dst, attrFalse+byte(f.bits))
	case IntField:
		return binary.LittleEndian.AppendUint64(append(dst, attrNumber), math.Float64bits(float64(f.Int())))
	}
	return binary.LittleEndian.AppendUint64(append(dst, attrNumber), math.Float64bits(f.Float()+0)) // +0 turns -0 into 0
}

// cut returns the first attribute and the rest, or false if a has no such form. The
// attribute's strings share a's memory.
func (a Attrs) cut() (f PointField, rest Attrs, ok bool) {
	if len(a) < 2 {
		return f, "", false
	}
	n := 1 + int(a[0])
	if len(a) < n+1 {
		return f, "", false
	}
	f.Key = string(a[1:n])
	kind := a[n]
	switch a = a[n+1:]; {
	case kind == attrNumber && len(a) >= 8:
		f.Type, f.bits = FloatField, binary.LittleEndian.Uint64([]byte(a[:8]))
		return f, a[8:], true
	case kind == attrFalse || kind == attrTrue:
		f.Type, f.bits = BoolField, uint64(kind-attrFalse)
		return f, a, true
	case kind == attrText && len(a) > 0 && len(a) > int(a[0]):
		end := 1 + int(a[0])
		f.Type, f.text = TextField, string(a[1:end])
		return f, a[end:], true
	}
	return f, "", false
}

// All yields the attributes in ascending order of name. Each has type FloatField, BoolField
// or TextField, and shares the memory of a.
func (a Attrs) All() iter.Seq[PointField] {
	return func(yield func(PointField) bool) {
		for a != "" {
			f, rest, ok := a.cut()
			if !ok || !yield(f) {
				return
			}
			a = rest
		}
	}
}

// Get returns the attribute of a name, and false if there is none.
func (a Attrs) Get(name string) (PointField, bool) {
	for f := range a.All() {
		if f.Key == name {
			return f, true
		}
	}
	return PointField{}, false
}

// Len returns the number of attributes.
func (a Attrs) Len() (n int) {
	for range a.All() {
		n++
	}
	return n
}

// Validate returns a *FieldError unless a has the form of attributes within the limits.
func (a Attrs) Validate() error {
	if len(a) > MaxAttrs {
		return &FieldError{KeyAttrs, fmt.Sprintf("%d bytes, more than %d", len(a), MaxAttrs)}
	}
	last, n := "", 0
	for a != "" {
		f, rest, ok := a.cut()
		if a, n = rest, n+1; !ok || n > MostAttrs || f.Key <= last {
			return &FieldError{KeyAttrs, "not in the form of attributes"}
		}
		last = f.Key
		if err := CheckAttrName(f.Key); err != nil {
			return err
		}
		if err := f.checkAttr(); err != nil {
			return err
		}
		if f.Type == FloatField && f.bits == 1<<63 {
			return &FieldError{KeyAttrs, "-0 in place of 0"}
		}
	}
	return nil
}

// wellFormed is Validate without its reasons and without a look at characters: the form is
// such that All yields all of a, and that a is encoded in no other way.
func (a Attrs) wellFormed() bool {
	if len(a) == 0 || len(a) > MaxAttrs {
		return false
	}
	last := ""
	for n := 0; a != ""; n++ {
		f, rest, ok := a.cut()
		if !ok || n == MostAttrs || f.Key <= last || len(f.Key) > MaxAttrName || len(f.text) > MaxAttrText {
			return false
		}
		a, last = rest, f.Key
	}
	return true
}

// AppendJSON appends the attributes as an object of JSON: {"door":"open","fuel":0.4}.
func (a Attrs) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	separator := false
	for f := range a.All() {
		if separator {
			dst = append(dst, ',')
		}
		separator = true
		dst = append(append(append(dst, '"'), f.Key...), `":`...)
		switch f.Type {
		case TextField:
			dst = appendJSONText(dst, f.text)
		case BoolField:
			dst = strconv.AppendBool(dst, f.Bool())
		default:
			dst = AppendNumber(dst, f.Float())
		}
	}
	return append(dst, '}')
}

// AppendNumber appends a finite number as JSON and line protocol write it: the shortest
// decimal that is read as v.
func AppendNumber(dst []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendJSONText appends a string without control characters. U+2028 and U+2029 are escaped,
// as a program in JavaScript may have the text in its source.
func appendJSONText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch r {
		case '"', '\\':
			dst = append(dst, '\\', byte(r))
		case '\u2028', '\u2029':
			dst = append(append(dst, `\u202`...), '8'+byte(r-'\u2028'))
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// ParseAttrs reads an object of JSON, or null, which is no attributes. It is for texts that
// come back from stores and files; an error is a *FieldError.
func ParseAttrs(text []byte) (Attrs, error) {
	broken := &FieldError{KeyAttrs, "not an object of JSON with numbers, booleans and strings"}
	d := json.NewDecoder(strings.NewReader(string(text)))
	t, err := d.Token()
	if err == nil && t == nil {
		return "", nil
	}
	if err != nil || t != json.Delim('{') {
		return "", broken
	}
	var list []PointField
	for d.More() {
		key, err := d.Token()
		if err != nil || len(list) > MostAttrs {
			return "", broken
		}
		name, _ := key.(string)
		value, err := d.Token()
		if err != nil {
			return "", broken
		}
		switch v := value.(type) {
		case float64:
			list = append(list, Float(name, v))
		case bool:
			list = append(list, Bool(name, v))
		case string:
			list = append(list, Text(name, v))
		case nil:
		default:
			return "", broken
		}
	}
	if _, err := d.Token(); err != nil {
		return "", broken
	}
	return NewAttrs(list...)
}
