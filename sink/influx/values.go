package influx

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"

	"pingline"
)

// null is an unknown value.
var null = []byte("null")

// cutValue returns the first of the comma-separated scalars in b, and the rest. An array or
// an object, which InfluxDB has in no row, is unknown, with all that is behind it.
func cutValue(b []byte) (value, rest []byte) {
	const blank = " \t\r\n"
	b = bytes.TrimLeft(b, blank)
	if len(b) == 0 || b[0] == '[' || b[0] == '{' {
		return null, nil
	}
	i := 0
	if b[0] == '"' {
		for i = 1; b[i] != '"'; i++ {
			if b[i] == '\\' {
				i++
			}
		}
	}
	n := bytes.IndexByte(b[i:], ',')
	if n < 0 {
		return bytes.TrimRight(b, blank), nil
	}
	return bytes.TrimRight(b[:i+n], blank), b[i+n+1:]
}

// number returns NaN if b is not a number.
func number(b []byte, bits int) float64 {
	f, err := strconv.ParseFloat(string(b), bits)
	if err != nil {
		return math.NaN()
	}
	return f
}

func text(b []byte) string {
	if b[0] != '"' {
		return ""
	}
	if b = b[1 : len(b)-1]; bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	var s string
	_ = json.Unmarshal(append(append([]byte{'"'}, b...), '"'), &s) // is valid JSON
	return s
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
		var f pingline.PointField
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
