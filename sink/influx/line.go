package influx

import (
	"math"
	"strconv"

	"pingline"
)

// Measurement is the name of the measurement that pings are stored under.
const Measurement = "location"

// clockCorrected is the value of the tag clock of a ping whose time was
// corrected.
const clockCorrected = "corrected"

// AppendLine appends e as a line of InfluxDB line protocol, newline included:
//
//	location,cell=8539220ffffffff,rider=r-1 lat=41.157812,lon=-8.629105,speed=7.42,skipped=7i 1760000000123000000
//
// Tags are sorted, unknown numbers are left out, the timestamp is in ns. An attribute
// is a field of its name behind AttrPrefix: attr_fuel=0.4,attr_door="open". It is
// the ping's ms, except for a ping that is Apart: InfluxDB keeps a single point
// for a series and an instant, so pings beside a track's point would replace it
// and each other. A ping that is Apart is put at a ns of its own within its ms,
// from 1 to 999,999, computed from its position and event: sent or replayed
// again, it is the same point, and a reader that cuts timestamps to ms gets the
// right time. Two pings of the same ms collide with a chance of 1 in a million.
// The form is described in
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/.
func AppendLine(dst []byte, e *pingline.Entry) []byte {
	dst = append(dst, Measurement...)
	if e.Cell != 0 {
		dst = append(dst, ",cell="...)
		dst = strconv.AppendUint(dst, e.Cell, 16)
	}
	if e.Corrected {
		dst = append(append(dst, ",clock="...), clockCorrected...)
	}
	if e.Device != "" {
		dst = appendEscaped(append(dst, ",device="...), e.Device, true)
	}
	if e.Late {
		dst = append(dst, ",late=1"...)
	}
	dst = appendEscaped(append(dst, ",rider="...), e.Rider, true)
	dst = appendE7(append(dst, " lat="...), e.LatE7)
	dst = appendE7(append(dst, ",lon="...), e.LonE7)
	for i, v := range e.Numbers() {
		if e.Known&(1<<i) != 0 {
			dst = append(append(append(dst, ','), pingline.Numbers[i].Key...), '=')
			dst = appendShortest(dst, v)
		}
	}
	if e.Event != "" {
		dst = append(append(append(dst, `,event="`...), e.Event...), '"')
	}
	if e.Trip != "" {
		dst = appendQuoted(append(dst, ",trip="...), e.Trip)
	}
	if e.Skipped != 0 {
		dst = append(strconv.AppendUint(append(dst, ",skipped="...), uint64(e.Skipped), 10), 'i')
	}
	if e.Attrs != "" {
		dst = appendAttrs(dst, e.Attrs)
	}
	dst = appendNano(append(dst, ' '), e.At, e.Nano())
	return append(dst, '\n')
}

// AppendPoint appends p as a line of InfluxDB line protocol, newline included. p
// must be valid.
func AppendPoint(dst []byte, p *pingline.Point) []byte {
	dst = appendEscaped(dst, p.Name, false)
	for i := range p.Tags {
		dst = appendEscaped(append(dst, ','), p.Tags[i].Key, true)
		dst = appendEscaped(append(dst, '='), p.Tags[i].Value, true)
	}
	separator := byte(' ')
	for i := range p.Fields {
		dst = appendField(append(dst, separator), &p.Fields[i])
		separator = ','
	}
	dst = appendNano(append(dst, ' '), p.At, 0)
	return append(dst, '\n')
}

func appendField(dst []byte, f *pingline.PointField) []byte {
	return appendValue(append(appendEscaped(dst, f.Key, true), '='), f)
}

func appendValue(dst []byte, f *pingline.PointField) []byte {
	switch f.Type {
	case pingline.IntField:
		return append(strconv.AppendInt(dst, f.Int(), 10), 'i')
	case pingline.FloatField:
		return strconv.AppendFloat(dst, f.Float(), 'g', -1, 64)
	case pingline.BoolField:
		return strconv.AppendBool(dst, f.Bool())
	}
	return appendQuoted(dst, f.Text())
}

// appendQuoted appends a string as the value of a field.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if c := s[i]; c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// appendEscaped appends a name, a key or the value of a tag. A measurement's name
// may contain an equals sign.
func appendEscaped(dst []byte, s string, equals bool) []byte {
	for i := range len(s) {
		if c := s[i]; c == ',' || c == ' ' || equals && c == '=' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}

// appendNano appends the instant nano ns after ms. InfluxDB knows the years 1678
// to 2261 and refuses all other years, so any digits will do for them.
func appendNano(dst []byte, ms, nano int64) []byte {
	const most = math.MaxInt64/pingline.NanosPerMilli - 1
	if ms < -most || ms > most {
		return append(strconv.AppendInt(dst, ms, 10), "000000"...)
	}
	return strconv.AppendInt(dst, ms*pingline.NanosPerMilli+nano, 10)
}

// appendShortest appends the shortest decimal that is read as v, as strconv does.
func appendShortest(dst []byte, v float32) []byte {
	const exact = 1 << 23 // below it, no two numbers of so many digits are the same float32
	// Phones know a digit or two behind the point, and then a division tells the digits.
	tenths, scaled := int64(1), float64(v)
	for range 3 {
		n := math.Round(scaled)
		if n == 0 || math.Abs(n) >= exact {
			break
		}
		if float32(n/float64(tenths)) == v {
			return appendDecimal(dst, int64(n), tenths)
		}
		tenths, scaled = tenths*10, scaled*10
	}
	return strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
}

// appendDecimal appends n divided by tenths, a power of ten of at most 100, of which n is
// no multiple of ten if tenths is not 1.
func appendDecimal(dst []byte, n, tenths int64) []byte {
	if n < 0 {
		dst, n = append(dst, '-'), -n
	}
	dst = strconv.AppendInt(dst, n/tenths, 10)
	rest := n % tenths
	switch tenths {
	case 10:
		dst = append(dst, '.', byte('0'+rest))
	case 100:
		dst = append(dst, '.', byte('0'+rest/10), byte('0'+rest%10))
	}
	return dst
}

// appendE7 appends v × 1e-7 in decimal, without trailing zeros.
func appendE7(dst []byte, v int32) []byte {
	u := int64(v)
	if u < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = strconv.AppendInt(dst, u/pingline.E7, 10)
	frac := u % pingline.E7
	if frac == 0 {
		return dst
	}
	var digits [8]byte
	digits[0] = '.'
	for i := 7; i > 0; i-- {
		digits[i] = byte('0' + frac%10)
		frac /= 10
	}
	n := len(digits)
	for digits[n-1] == '0' {
		n--
	}
	return append(dst, digits[:n]...)
}
