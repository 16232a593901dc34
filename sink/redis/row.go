package redis

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"pingline"
)

// A row is a head and a list of texts, each behind a byte that has its length:
//
//	kind  byte   one of rowPing…
//	size  uint16 bytes behind the head, big endian
//	ts    int64  ms since 1970, big endian; of a ping only
//	texts        the rider; "1" if the geo set can have the place, or ""; and the fields of the hash, name and value in turn, ts, lat and lon first
const (
	rowHead  = 1 + 2
	rowTexts = rowHead + 8
)

// Kinds of rows.
const (
	rowPing  = 'p'
	rowOther = 'o' // no ping, and so not for this store
	rowBad   = 'b' // a ping that cannot be kept: a line of an earlier version, or of a time that is none
)

// Fields of a hash, besides the keys of a ping.
const (
	fieldCell    = "cell"
	fieldSkipped = "skipped"
	fieldLate    = "late"
	fieldClock   = "clock"
	fieldApart   = "apart"

	isTrue      = "true"
	isCorrected = "corrected"
)

// maxGeoE7 is the latitude up to which a geo set has places, 1e-7 degree: that of EPSG:3857.
const maxGeoE7 = 850_511_287

// mostTS bounds a ts: a script compares and a sorted set keeps it as a float64.
const mostTS = 1 << 53

// appendRow appends e as a row.
func appendRow(dst []byte, e *pingline.Entry) []byte {
	switch {
	case e.Point != nil, e.IsLine() && !e.Kind.Replayed():
		return append(dst, rowOther, 0, 0)
	case e.IsLine(), e.At <= -mostTS, e.At >= mostTS:
		return append(dst, rowBad, 0, 0)
	}
	start := len(dst)
	dst = binary.BigEndian.AppendUint64(append(dst, rowPing, 0, 0), uint64(e.At))
	dst = appendText(dst, e.Rider)
	geo := ""
	if e.LatE7 >= -maxGeoE7 && e.LatE7 <= maxGeoE7 {
		geo = "1"
	}
	dst = appendFields(appendText(dst, geo), e)
	binary.BigEndian.PutUint16(dst[start+1:], uint16(len(dst)-start-rowHead))
	return dst
}

func appendFields(dst []byte, e *pingline.Entry) []byte {
	names := &pingline.KeyNames
	var num [32]byte
	number := func(name string, text []byte) {
		dst = appendText(dst, name)
		dst = append(append(dst, byte(len(text))), text...)
	}
	number(names[pingline.KeyTS], strconv.AppendInt(num[:0], e.At, 10))
	number(names[pingline.KeyLat], strconv.AppendFloat(num[:0], e.Lat(), 'f', -1, 64))
	number(names[pingline.KeyLon], strconv.AppendFloat(num[:0], e.Lon(), 'f', -1, 64))
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 {
			number(pingline.Numbers[i].Key, strconv.AppendFloat(num[:0], float64(v), 'g', -1, 32))
		}
	}
	text := func(name, value string) {
		if value != "" {
			dst = appendText(appendText(dst, name), value)
		}
	}
	text(names[pingline.KeyEvent], e.Event)
	text(names[pingline.KeyDevice], e.Device)
	text(names[pingline.KeyTrip], e.Trip)
	if e.Cell != 0 {
		number(fieldCell, strconv.AppendUint(num[:0], e.Cell, 16))
	}
	if e.Skipped != 0 {
		number(fieldSkipped, strconv.AppendUint(num[:0], uint64(e.Skipped), 10))
	}
	for _, f := range [...]struct {
		name, value string
		is          bool
	}{{fieldLate, isTrue, e.Late}, {fieldClock, isCorrected, e.Corrected}, {fieldApart, isTrue, e.Apart}} {
		if f.is {
			text(f.name, f.value)
		}
	}
	for f := range e.Attrs.All() {
		dst = appendAttr(dst, &f)
	}
	return dst
}

// fieldAttr begins the name of a field that is an attribute; its value is as JSON has it.
const fieldAttr = "attr_"

func appendAttr(dst []byte, f *pingline.PointField) []byte {
	dst = append(append(append(dst, byte(len(fieldAttr)+len(f.Key))), fieldAttr...), f.Key...)
	at := len(dst)
	dst = append(dst, 0)
	switch f.Type {
	case pingline.TextField:
		dst = appendJSON(dst, f.Text())
	case pingline.BoolField:
		dst = strconv.AppendBool(dst, f.Bool())
	default:
		dst = pingline.AppendNumber(dst, f.Float())
	}
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// attrsOf returns the attributes that a hash has; those of another writer are left out.
func attrsOf(hash map[string]string) (attrs pingline.Attrs) {
	var list []pingline.PointField
	for name, value := range hash {
		if name, ok := strings.CutPrefix(name, fieldAttr); ok {
			one, err := pingline.ParseAttrs([]byte(`{"` + name + `":` + value + `}`))
			for f := range one.All() {
				if err == nil {
					list = append(list, f)
				}
			}
		}
	}
	if len(list) == 0 {
		return ""
	}
	attrs, _ = pingline.NewAttrs(list...)
	return attrs
}

// appendText appends a text of at most 255 bytes: no part of a valid ping is longer.
func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), math.MaxUint8)]
	return append(append(dst, byte(len(s))), s...)
}

// cutRow returns the kind of the first of rows, what is behind its head, and the rest. ok is
// false behind the last row.
func cutRow(rows string) (kind byte, body, rest string, ok bool) {
	if len(rows) < rowHead {
		return 0, "", "", false
	}
	end := rowHead + int(rows[1])<<8 + int(rows[2])
	if end > len(rows) || rows[0] == rowPing && end < rowTexts {
		return 0, "", "", false
	}
	return rows[0], rows[rowHead:end], rows[end:], true
}

// tsOf returns the ts of a ping, from behind the head of its row, and its texts.
func tsOf(body string) (ts int64, texts string) {
	for i := range 8 {
		ts = ts<<8 | int64(body[i])
	}
	return ts, body[8:]
}

// cutText returns the first of texts, and the rest. ok is false behind the last.
func cutText(texts string) (text, rest string, ok bool) {
	if texts == "" || len(texts) <= int(texts[0]) {
		return "", "", false
	}
	end := 1 + int(texts[0])
	return texts[1:end], texts[end:], true
}

// quoted are the fields whose values are strings in JSON: all others are numbers, true or
// false.
var quoted = map[string]bool{
	pingline.KeyNames[pingline.KeyEvent]: true, pingline.KeyNames[pingline.KeyDevice]: true, pingline.KeyNames[pingline.KeyTrip]: true, fieldCell: true, fieldClock: true,
}

// appendMessage appends a change as JSON, from its rider and the fields of the hash.
func appendMessage(dst []byte, rider string, fields []string) []byte {
	dst = append(append(append(dst, `{"`...), pingline.KeyNames[pingline.KeyRider]...), `":`...)
	dst = appendJSON(dst, rider)
	for i := 0; i+1 < len(fields); i += 2 {
		dst = append(append(append(dst, `,"`...), fields[i]...), `":`...)
		if quoted[fields[i]] {
			dst = appendJSON(dst, fields[i+1])
		} else {
			dst = append(dst, fields[i+1]...)
		}
	}
	return append(dst, '}')
}

// appendJSON appends a string as JSON has it.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, c := range []byte(strings.ToValidUTF8(s, "\ufffd")) {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// entryOf returns the ping that a hash has. ok is false if the hash is none of ours.
func entryOf(rider string, hash map[string]string) (e pingline.Entry, ok bool) {
	names := &pingline.KeyNames
	e.Verdict, e.Rider = pingline.Accepted, rider
	var errs [5]error
	var lat, lon float64
	e.At, errs[0] = strconv.ParseInt(hash[names[pingline.KeyTS]], 10, 64)
	lat, errs[1] = strconv.ParseFloat(hash[names[pingline.KeyLat]], 64)
	lon, errs[2] = strconv.ParseFloat(hash[names[pingline.KeyLon]], 64)
	if text, has := hash[fieldCell]; has {
		e.Cell, errs[3] = strconv.ParseUint(text, 16, 64)
	}
	if text, has := hash[fieldSkipped]; has {
		var n uint64
		n, errs[4] = strconv.ParseUint(text, 10, 32)
		e.Skipped = uint32(n)
	}
	for _, err := range errs {
		if err != nil {
			return e, false
		}
	}
	if e.SetPosition(lat, lon) != nil {
		return e, false
	}
	for i := range pingline.Numbers {
		if text, has := hash[pingline.Numbers[i].Key]; has {
			v, err := strconv.ParseFloat(text, 32)
			if err != nil {
				return e, false
			}
			e.SetOptional(1<<i, v)
		}
	}
	e.Event, e.Device, e.Trip = hash[names[pingline.KeyEvent]], hash[names[pingline.KeyDevice]], hash[names[pingline.KeyTrip]]
	e.Attrs = attrsOf(hash)
	e.Late, e.Apart, e.Corrected = hash[fieldLate] == isTrue, hash[fieldApart] == isTrue, hash[fieldClock] == isCorrected
	return e, true
}
