package lineprotocol

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"

	"pingline"
	"pingline/ingest/phone"
)

var (
	errOurs   = &pingline.FieldError{Field: "lat", Reason: "no position: only Pingline writes this measurement"}
	errRights = &pingline.FieldError{Field: "rider_id", Reason: "no position: a key for some riders only writes no other lines"}
	errEnd    = &pingline.FieldError{Field: "lat", Reason: "no position: with these backslashes and quotes InfluxDB would not see the end of the line"}
	errRange  = &pingline.FieldError{Field: "ts", Reason: "the timestamp is beyond 64 bits of nanoseconds"}
)

// isOurs reports whether Pingline's own points are of a measurement.
func isOurs(measurement string) bool {
	return measurement == "location" || measurement == "cell_activity" || strings.HasPrefix(measurement, "pingline")
}

// mostAdded bounds what passOn adds to a line: a blank, a timestamp and a line break. A line has
// at least shortest bytes with its own, as "a b=1".
const (
	mostAdded = len(" -9223372036854775808\n")
	shortest  = len("a b=1\n")
)

// mostPassed bounds the number of lines of a body that are passed on.
func mostPassed(body, lines int) int { return min(lines, body/shortest+1) }

// passOn adds the line to those that are passed on, or rejects it.
func (w *positionLine) passOn(r *phone.Request, to *phone.Pings, ns int64) error {
	at := r.Now.UnixNano()
	if w.timed {
		at = w.at * ns
	}
	o := &to.Others
	switch {
	case w.ours:
		return to.Reject(errOurs)
	case r.Limits.Riders != nil:
		return to.Reject(errRights)
	case w.timed && (w.at > math.MaxInt64/ns || w.at < math.MinInt64/ns):
		return to.Reject(errRange)
	case len(o.Ends) >= r.Limits.MaxPings:
		return &phone.Error{Kind: phone.ErrTooLarge, Text: fmt.Sprintf("more than %d lines that are no positions: send them in parts", r.Limits.MaxPings)}
	}
	if o.Bytes == nil {
		n := mostPassed(len(r.Body), 1+bytes.Count(r.Body, []byte("\n")))
		o.Bytes, o.Ends = make([]byte, 0, len(r.Body)+mostAdded*n), make([]int, 0, n)
	}
	from := len(o.Bytes)
	o.Bytes = strconv.AppendInt(append(append(o.Bytes, w.upTo...), ' '), at, 10)
	o.Bytes = append(o.Bytes, '\n')
	if endOf(o.Bytes[from:]) != len(o.Bytes)-from-1 {
		o.Bytes = o.Bytes[:from]
		return to.Reject(errEnd)
	}
	o.Ends = append(o.Ends, len(o.Bytes))
	return nil
}

// endOf returns where InfluxDB sees the end of the first line of text (scanLine of its
// models/points.go). It skips what follows any backslash, and knows texts by counting commas and
// equals signs: so two lines may be one to it, or one line two, of which the second may be a
// measurement that isOurs.
func endOf(text []byte) int {
	quoted, fields, equals, commas := false, false, 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+2 < len(text):
			i++
		case c == ' ':
			fields = true
		case c == '\n' && !quoted:
			return i
		case !fields:
		case c == '=' && !quoted:
			equals++
		case c == ',' && !quoted:
			commas++
		case c == '"' && equals > commas:
			quoted = !quoted
		}
	}
	return len(text)
}
