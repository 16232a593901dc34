package owntracks

import (
	"bytes"
	"strconv"

	"pingline/ingest/phone"
	"pingline/ingest/phone/lenient"
)

// csvLine is a fix of a tracker that is too small for JSON, as text:
//
//	tid, time (s since 1970, hexadecimal), trigger, lat × 10⁶, lon × 10⁶, course / 10,
//	speed (km/h), altitude / 10, distance, distance of the trip
//
// The source is owntracks/recorder:recorder.c.
type csvLine [10]string

// csv returns the line that a body is, or false if it is none.
func csv(body []byte) (line csvLine, ok bool) {
	if bytes.Count(body, []byte(",")) != len(line)-1 || lenient.IsJSON(body) {
		return line, false
	}
	i := 0
	for field := range bytes.SplitSeq(body, []byte(",")) {
		line[i] = string(bytes.TrimSpace(field))
		i++
	}
	return line, true
}

// add adds the fix of a line.
func (line *csvLine) add(n *senderNames, to *phone.Pings) error {
	var d phone.Draft
	n.set(&d, "", line[0])
	if s, err := strconv.ParseUint(line[1], 16, 32); err == nil && s != 0 {
		d.SetTime(int64(s) * 1000)
	}
	for _, f := range [...]struct {
		field phone.Field
		at    int
		unit  float64
	}{
		{phone.Lat, 3, 1e-6}, {phone.Lon, 4, 1e-6}, {phone.Heading, 5, 10}, {phone.Speed, 6, lenient.KilometresPerHour}, {phone.Altitude, 7, 10},
	} {
		v, known := lenient.Number(line[f.at])
		lenient.SetNumber(&d, f.field, v*f.unit, known)
	}
	return to.Add(&d)
}
