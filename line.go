package pingline

import "strconv"

// Measurement is the name of the measurement that pings are stored under.
const Measurement = "location"

// AppendLine appends e as one line of InfluxDB line protocol, newline included:
//
//	location,cell=8539220ffffffff,rider=r-1 lat=41.157812,lon=-8.629105,speed=7.42,skipped=7i 1760000000123
//
// Tags are sorted, unknown numbers are left out, the timestamp is in ms. The
// names of a valid ping need no escaping in this form; it is described in
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/.
func AppendLine(dst []byte, e *Entry) []byte {
	dst = append(dst, Measurement...)
	if e.Cell != 0 {
		dst = append(dst, ",cell="...)
		dst = strconv.AppendUint(dst, e.Cell, 16)
	}
	if e.Device != "" {
		dst = append(append(dst, ",device="...), e.Device...)
	}
	if e.Late {
		dst = append(dst, ",late=1"...)
	}
	dst = append(append(dst, ",rider="...), e.Rider...)
	dst = appendE7(append(dst, " lat="...), e.LatE7)
	dst = appendE7(append(dst, ",lon="...), e.LonE7)
	for i, v := range [...]float32{e.Speed, e.Heading, e.Accuracy, e.Altitude, e.Battery} {
		if e.Known&(1<<i) != 0 {
			dst = append(append(append(dst, ','), optional[i].name...), '=')
			dst = strconv.AppendFloat(dst, float64(v), 'f', -1, 32)
		}
	}
	if e.Event != "" {
		dst = append(append(append(dst, `,event="`...), e.Event...), '"')
	}
	if e.Trip != "" {
		dst = append(append(append(dst, `,trip="`...), e.Trip...), '"')
	}
	if e.Skipped != 0 {
		dst = append(strconv.AppendUint(append(dst, ",skipped="...), uint64(e.Skipped), 10), 'i')
	}
	dst = strconv.AppendInt(append(dst, ' '), e.At, 10)
	return append(dst, '\n')
}

// appendE7 appends v × 1e-7 in decimal, without trailing zeros.
func appendE7(dst []byte, v int32) []byte {
	u := int64(v)
	if u < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = strconv.AppendInt(dst, u/E7, 10)
	frac := u % E7
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
