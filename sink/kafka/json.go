package kafka

import (
	"math"
	"strconv"

	"pingline"
)

// appendPing appends a ping in the form of POST /v1/pings, with cell, skipped, late,
// corrected and nano besides, which that route ignores.
func appendPing(dst []byte, e *pingline.Entry) []byte {
	key := func(k pingline.PingKey) { dst = append(append(append(dst, ',', '"'), k.String()...), '"', ':') }
	text := func(k pingline.PingKey, s string) {
		if s != "" {
			key(k)
			dst = appendText(dst, s)
		}
	}
	dst = append(append(append(dst, '{', '"'), pingline.KeyRider.String()...), '"', ':')
	dst = appendText(dst, e.Rider)
	key(pingline.KeyTS)
	dst = strconv.AppendInt(dst, e.At, 10)
	key(pingline.KeyLat)
	dst = strconv.AppendFloat(dst, e.Lat(), 'f', -1, 64)
	key(pingline.KeyLon)
	dst = strconv.AppendFloat(dst, e.Lon(), 'f', -1, 64)
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 && v-v == 0 { // JSON has only finite numbers
			key(pingline.KeyNumbers + pingline.PingKey(i))
			dst = strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
		}
	}
	text(pingline.KeyDevice, e.Device)
	text(pingline.KeyEvent, e.Event)
	text(pingline.KeyTrip, e.Trip)
	if e.Attrs != "" {
		dst = e.Attrs.AppendJSON(append(dst, `,"attrs":`...))
	}
	if e.Cell != 0 {
		dst = append(strconv.AppendUint(append(dst, `,"cell":"`...), e.Cell, 16), '"')
	}
	if e.Skipped != 0 {
		dst = strconv.AppendUint(append(dst, `,"skipped":`...), uint64(e.Skipped), 10)
	}
	if e.Late {
		dst = append(dst, `,"late":true`...)
	}
	if e.Corrected {
		dst = append(dst, `,"corrected":true`...)
	}
	if nano := e.Nano(); nano != 0 {
		dst = strconv.AppendInt(append(dst, `,"nano":`...), nano, 10)
	}
	return append(dst, '}')
}

// appendPoint appends a point as an object with its tags and its fields.
func appendPoint(dst []byte, p *pingline.Point) []byte {
	dst = appendText(append(dst, `{"name":`...), p.Name)
	dst = strconv.AppendInt(append(dst, `,"ts":`...), p.At, 10)
	dst = append(dst, `,"tags":{`...)
	for i := range p.Tags {
		dst = appendText(append(appendMember(dst, i, p.Tags[i].Key), ':'), p.Tags[i].Value)
	}
	dst = append(dst, `},"fields":{`...)
	for i := range p.Fields {
		dst = appendValue(append(appendMember(dst, i, p.Fields[i].Key), ':'), &p.Fields[i])
	}
	return append(dst, '}', '}')
}

func appendMember(dst []byte, i int, name string) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return appendText(dst, name)
}

// appendValue appends a float with a point or an exponent, so that its type is seen, and null for
// one that is not finite.
func appendValue(dst []byte, f *pingline.PointField) []byte {
	switch f.Type {
	case pingline.IntField:
		return strconv.AppendInt(dst, f.Int(), 10)
	case pingline.BoolField:
		return strconv.AppendBool(dst, f.Bool())
	case pingline.TextField:
		return appendText(dst, f.Text())
	}
	if v := f.Float(); v-v != 0 {
		return append(dst, "null"...)
	}
	const whole = 1 << 53 // from here on the digits would be many
	if v := f.Float(); v == math.Trunc(v) && math.Abs(v) < whole {
		return append(strconv.AppendFloat(dst, v, 'f', -1, 64), ".0"...)
	}
	return strconv.AppendFloat(dst, f.Float(), 'g', -1, 64)
}

// appendText appends a string, which is UTF-8, as JSON has it.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c != '"' && c != '\\' && c >= ' ' {
			continue
		}
		dst = append(dst, s[from:i]...)
		if from = i + 1; c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	return append(append(dst, s[from:]...), '"')
}
