package lenient

import (
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/ingest/phone"
)

// SetGPRMC sets time, position, speed and heading by a sentence GPRMC (NMEA 0183), as
// $GPRMC,192429,A,5121.47965,N,011.71463,W,36.9,22.0,050316,,*02. The checksum is not looked
// at: what TCP has carried is whole. Years are those from 2000 to 2099.
func SetGPRMC(d *phone.Draft, sentence string) error {
	const (
		clock = 1 + iota // hhmmss or hhmmss.sss, UTC
		valid            // A is valid, V is not
		lat              // degrees and minutes: two digits of minutes before the dot
		north            // N or S
		lon
		east   // E or W
		speed  // knots
		course // degrees
		day    // ddmmyy
		fields
	)
	sentence, _, _ = strings.Cut(strings.TrimSpace(sentence), "*")
	var f [fields]string
	n := 0
	for part := range strings.SplitSeq(sentence, ",") {
		if n == len(f) {
			break
		}
		f[n] = strings.TrimSpace(part)
		n++
	}
	if n < len(f) || !strings.HasSuffix(f[0], "RMC") {
		return &pingline.FieldError{Field: "lat", Reason: "gprmc is not a sentence GPRMC with its date"}
	}
	if !strings.EqualFold(f[valid], "A") {
		return &pingline.FieldError{Field: "lat", Reason: "the phone says that the position is not valid"}
	}
	hhmmss, fraction, _ := strings.Cut(f[clock], ".")
	at, err := time.Parse("020106150405", f[day]+hhmmss)
	if err != nil {
		return &pingline.FieldError{Field: "ts", Reason: "gprmc has no date and time"}
	}
	if at.Year() < 2000 { // two digits from 69 on are of 1900 for package time
		at = at.AddDate(100, 0, 0)
	}
	ms := at.UnixMilli()
	if part, ok := Number("0." + fraction); ok {
		ms += int64(part * 1000)
	}
	d.SetTime(ms)
	for _, c := range [...]struct {
		field           phone.Field
		text, side      string
		positive, minus string
	}{{phone.Lat, f[lat], f[north], "N", "S"}, {phone.Lon, f[lon], f[east], "E", "W"}} {
		v, ok := degrees(c.text)
		switch {
		case !ok || !strings.EqualFold(c.side, c.positive) && !strings.EqualFold(c.side, c.minus):
			return &pingline.FieldError{Field: c.field.String(), Reason: "not of the form ddmm.mmmm, and a side"}
		case strings.EqualFold(c.side, c.minus):
			v = -v
		}
		d.SetNumber(c.field, v)
	}
	if v, ok := Number(f[speed]); ok {
		SetPositive(d, phone.Speed, v*Knot, true)
	}
	if v, ok := Number(f[course]); ok && v > 0 { // the app writes 0 for a course that it does not know
		d.SetNumber(phone.Heading, v)
	}
	return nil
}

// degrees reads degrees and minutes. The minutes have two digits before the dot, and the
// degrees are the digits before them, however many: GPSLogger writes 011.71463 for 0° 11.71463'.
func degrees(text string) (float64, bool) {
	dot := strings.IndexByte(text, '.')
	if dot < 0 {
		dot = len(text)
	}
	if dot < 2 || strings.ContainsAny(text, "+-eExXnN_") {
		return 0, false
	}
	minutes, ok := Number(text[dot-2:])
	whole, err := strconv.Atoi("0" + text[:dot-2])
	return float64(whole) + minutes/60, ok && err == nil && minutes < 60
}
