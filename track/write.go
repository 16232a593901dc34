package track

import (
	"math"
	"strconv"
	"strings"

	"pingline"
)

// numberKeys is the JSON in front of the value of each optional number.
var numberKeys = func() (keys [len(pingline.Numbers)]string) {
	for i := range keys {
		keys[i] = `,"` + pingline.Numbers[i].Key + `":`
	}
	return keys
}()

// AppendPing appends p in the JSON form of POST /v1/pings, without a newline.
// Unknown numbers and empty names are left out; the names must be valid. Read back,
// it is equal to p.
func AppendPing(dst []byte, p *pingline.Ping) []byte {
	dst = appendText(append(dst, `{"rider_id":`...), p.Rider)
	if p.Device != "" {
		dst = appendText(append(dst, `,"device_id":`...), p.Device)
	}
	dst = strconv.AppendInt(append(dst, `,"ts":`...), p.At, 10)
	dst = appendFixed(append(dst, `,"lat":`...), int64(p.LatE7), 7)
	dst = appendFixed(append(dst, `,"lon":`...), int64(p.LonE7), 7)
	for i, v := range p.Numbers() {
		if p.Known&(1<<i) != 0 {
			dst = appendNumber(append(dst, numberKeys[i]...), v)
		}
	}
	if p.Event != "" {
		dst = appendText(append(dst, `,"event":`...), p.Event)
	}
	if p.Trip != "" {
		dst = appendText(append(dst, `,"trip_id":`...), p.Trip)
	}
	if p.Attrs != "" {
		dst = p.Attrs.AppendJSON(append(dst, `,"attrs":`...))
	}
	return append(dst, '}')
}

// appendText appends a valid name as JSON. The quote is the only character of a valid
// name that JSON escapes.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return append(append(dst, s...), '"')
		}
		dst = append(append(dst, s[:i]...), `\"`...)
		s = s[i+1:]
	}
}

// appendNumber appends the shortest decimal that reads back as v. A number of up to two
// decimals, as most receivers send, needs no search for the shortest.
func appendNumber(dst []byte, v float32) []byte {
	if n := math.Round(float64(v) * 100); math.Abs(n) < 1e7 && float32(n/100) == v {
		return appendFixed(dst, int64(n), 2)
	}
	return strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
}

// appendFixed appends v × 10^-decimals without trailing zeros; decimals is at
// most 7.
func appendFixed(dst []byte, v int64, decimals int) []byte {
	if v < 0 {
		dst, v = append(dst, '-'), -v
	}
	var digits [20]byte
	n, end := len(digits), len(digits)
	for i := 0; v > 0 || i <= decimals; i++ {
		if i == decimals && n < end {
			n--
			digits[n] = '.'
		}
		digit := byte('0' + v%10)
		v /= 10
		if i < decimals && n == end && digit == '0' {
			end--
			n--
			continue
		}
		n--
		digits[n] = digit
	}
	return append(dst, digits[n:end]...)
}
