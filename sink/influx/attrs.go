package influx

import "pingline"

// AttrPrefix begins the name of a field that is an attribute of the sender's own, so that
// none has the name of another field.
const AttrPrefix = "attr_"

// selectAttrs selects the fields of attributes in InfluxQL. There may be none.
const selectAttrs = `/^` + AttrPrefix + `/`

// appendAttrs appends attributes as fields. A number is always a float: 1 and 1.5 are of
// one type.
func appendAttrs(dst []byte, a pingline.Attrs) []byte {
	for f := range a.All() {
		dst = append(append(append(append(dst, ','), AttrPrefix...), f.Key...), '=')
		if f.Type == pingline.FloatField {
			dst = pingline.AppendNumber(dst, f.Float())
			continue
		}
		dst = appendValue(dst, &f)
	}
	return dst
}
