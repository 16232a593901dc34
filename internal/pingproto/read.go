package pingproto

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"pingline"
	"pingline/internal/plainjson"
)

// types are those of the fields of a Ping that are read.
var types = map[protowire.Number]protowire.Type{
	pingRider: protowire.BytesType, pingTS: protowire.VarintType, pingLat: protowire.Fixed64Type, pingLon: protowire.Fixed64Type,
	pingDevice: protowire.BytesType, pingEvent: protowire.BytesType, pingTrip: protowire.BytesType,
	pingAttrs: protowire.BytesType,
}

// Text returns a Ping as the object that POST /v1/pings takes, whose checks are not made here:
// all that it has not said is left out, but for lat and lon, which are 0 then. It returns an error
// if the bytes are no message, a field is of another type than in the schema, a text is not
// UTF-8, a number is not finite, or there are too many attributes. The object is at most some six times as long as the message.
func Text(message []byte) ([]byte, error) {
	var texts [pingTrip + 1]string
	var lat, lon float64
	var numbers [len(pingline.Numbers)]float32
	var known pingline.Known
	var ts int64
	var attrs attributes
	for rest := message; len(rest) > 0; {
		n, is, size := protowire.ConsumeTag(rest)
		if size < 0 {
			return nil, fmt.Errorf("no message of Protobuf: %w at offset %d", protowire.ParseError(size), len(message)-len(rest))
		}
		value := rest[size:]
		if size = protowire.ConsumeFieldValue(n, is, value); size < 0 {
			return nil, fmt.Errorf("no message of Protobuf: field %d: %w at offset %d", n, protowire.ParseError(size), len(message)-len(value))
		}
		rest = value[size:]
		number := int(n) - pingNumbers
		want, read := types[n]
		if number >= 0 && number < len(numbers) {
			want, read = protowire.Fixed32Type, true
		}
		if !read {
			continue
		}
		if is != want {
			return nil, fmt.Errorf("%s: wire type %d, the schema has %d: is the message a pingline.v1.Ping?", name(n), is, want)
		}
		switch {
		case n == pingTS:
			v, _ := protowire.ConsumeVarint(value)
			ts = int64(v)
		case n == pingAttrs:
			v, _ := protowire.ConsumeBytes(value)
			if err := attrs.add(v); err != nil {
				return nil, fmt.Errorf("%s: %w", name(n), err)
			}
		case is == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(value)
			if !utf8.Valid(v) {
				return nil, fmt.Errorf("%s: not UTF-8", name(n))
			}
			texts[n] = string(v)
		case is == protowire.Fixed64Type:
			bits, _ := protowire.ConsumeFixed64(value)
			v := math.Float64frombits(bits)
			if v-v != 0 {
				return nil, fmt.Errorf("%s: not a finite number", name(n))
			}
			if n == pingLat {
				lat = v
			} else {
				lon = v
			}
		default:
			bits, _ := protowire.ConsumeFixed32(value)
			v := math.Float32frombits(bits)
			if v-v != 0 {
				return nil, fmt.Errorf("%s: not a finite number", name(n))
			}
			numbers[number], known = v, known|1<<number
		}
	}
	dst := strconv.AppendFloat([]byte(`{"lat":`), lat, 'g', -1, 64)
	dst = strconv.AppendFloat(append(dst, `,"lon":`...), lon, 'g', -1, 64)
	key := func(n protowire.Number) { dst = append(append(append(dst, `,"`...), name(n)...), `":`...) }
	if ts != 0 {
		key(pingTS)
		dst = strconv.AppendInt(dst, ts, 10)
	}
	for n, text := range texts {
		if text != "" {
			key(protowire.Number(n))
			dst = plainjson.Append(dst, text)
		}
	}
	for i, v := range numbers {
		if known&(1<<i) != 0 {
			key(pingNumbers + protowire.Number(i))
			dst = strconv.AppendFloat(dst, float64(v), 'g', -1, 32)
		}
	}
	if len(attrs) > 0 {
		key(pingAttrs)
		dst = attrs.appendJSON(dst)
	}
	return append(dst, '}'), nil
}

// name returns the name of a field of a Ping.
func name(n protowire.Number) string {
	switch n {
	case pingRider:
		return pingline.KeyRider.String()
	case pingTS:
		return pingline.KeyTS.String()
	case pingLat:
		return pingline.KeyLat.String()
	case pingLon:
		return pingline.KeyLon.String()
	case pingDevice:
		return pingline.KeyDevice.String()
	case pingEvent:
		return pingline.KeyEvent.String()
	case pingTrip:
		return pingline.KeyTrip.String()
	case pingAttrs:
		return pingline.KeyAttrs
	}
	return pingline.Numbers[n-pingNumbers].Key
}
