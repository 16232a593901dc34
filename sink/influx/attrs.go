package influx

import (
	"strings"

	"pingline"
)

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
		f.Key = ""
		dst = appendValue(dst, &f)
	}
	return dst
}

// attrsOf returns the attributes of a row: values, as JSON, of the columns that begin with
// AttrPrefix. A value that is none of ours is left out.
func attrsOf(columns []string, values []byte) pingline.Attrs {
	var list []pingline.PointField
	for _, column := range columns {
		if len(values) == 0 {
			break
		}
		var value []byte
		value, values = cutValue(values)
		name, ok := strings.CutPrefix(column, AttrPrefix)
		if !ok {
			continue
		}
		f := pingline.Text(name, "")
		switch value[0] {
		case 'n': // null
			continue
		case 't', 'f':
			f = pingline.Bool(name, value[0] == 't')
		case '"':
			f = pingline.Text(name, text(value))
		default:
			f = pingline.Float(name, number(value, 64))
		}
		if _, err := pingline.NewAttrs(f); err == nil && len(list) < pingline.MostAttrs {
			list = append(list, f)
		}
	}
	a, _ := pingline.NewAttrs(list...) // "" if others have written more than a ping may have
	return a
}
