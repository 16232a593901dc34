package server

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pingline"
)

// Limits bounds what one request may carry. The zero value takes every default.
type Limits struct {
	MaxBody     int                 // bytes of a body as it is sent; 0 means 4 MiB
	MaxInflated int                 // bytes of a body after decompression; 0 means 16 MiB
	MaxPings    int                 // pings in a body; 0 means 20,000
	Times       pingline.TimeLimits // how old and how far ahead a ping may be; 0 means 720 h and 2 min
	KeptEvents  time.Duration       // Times.Kept of pings with an event
}

func (l Limits) withDefaults() Limits {
	l.MaxBody = cmp.Or(l.MaxBody, 4<<20)
	l.MaxInflated = cmp.Or(l.MaxInflated, 16<<20)
	l.MaxPings = cmp.Or(l.MaxPings, 20_000)
	l.Times.MaxAge = cmp.Or(l.Times.MaxAge, 720*time.Hour)
	l.Times.MaxAhead = cmp.Or(l.Times.MaxAhead, 2*time.Minute)
	return l
}

// errMalformed is wrapped by every refusal of a body of which nothing is kept
// because it cannot be read. A body that is too large wraps ErrTooLarge.
var errMalformed = errors.New("malformed body")

// bodyError is the refusal of a whole body, or of a line of it.
type bodyError struct {
	kind error
	text string
}

func (e *bodyError) Error() string { return e.text }

func (e *bodyError) Unwrap() error { return e.kind }

// syntaxError says where in a body, or a line of it, the JSON is broken.
type syntaxError struct {
	offset int
	want   string
	got    byte
	atEnd  bool // got nothing
}

func (e *syntaxError) Error() string {
	got := "the end"
	if !e.atEnd {
		got = strconv.Quote(string([]byte{e.got}))
	}
	return fmt.Sprintf("syntax error at offset %d: want %s, got %s", e.offset, e.want, got)
}

func (e *syntaxError) Unwrap() error { return errMalformed }

// Decoded is a body of pings, read and checked. It is meant to be used again:
// the pings of one body take the memory of those before.
type Decoded struct {
	Pings    []pingline.Ping // the valid ones, in order
	Index    []int32         // for each of Pings, its position in the body
	Received int             // pings in the body, valid or not
	Rejected []Rejection     // those not in Pings, but no more than the first 100

	reasons    [fields]int32 // rejected pings by field; 0 for the ping as a whole
	outOfRange [fields]int32 // optional numbers of Pings that were out of range
}

// Rejection says why a ping is invalid.
type Rejection struct {
	Index  int    `json:"index"`           // its position in the body
	Field  string `json:"field,omitempty"` // key; "" if it could not be read at all
	Reason string `json:"error"`
}

const maxRejections = 100

// Reset forgets the body.
func (d *Decoded) Reset() {
	clear(d.Pings)
	*d = Decoded{Pings: d.Pings[:0], Index: d.Index[:0], Rejected: d.Rejected[:0]}
}

// eachReason calls f with the number of rejected pings for each field that was
// a reason, "syntax" for those that could not be read.
func (d *Decoded) eachReason(f func(field string, n int)) { each(&d.reasons, f) }

// eachOutOfRange calls f with how many valid pings had the field out of range.
func (d *Decoded) eachOutOfRange(f func(field string, n int)) { each(&d.outOfRange, f) }

func each(counts *[fields]int32, f func(string, int)) {
	for i, n := range counts {
		if n > 0 {
			f(fieldNames[i], int(n))
		}
	}
}

// A field is a key of a ping, in the order in which they are checked.
type field uint8

const (
	noField field = iota
	fieldRider
	fieldTS
	fieldLat
	fieldLon
	fieldSpeed // the optional numbers, in the order of their bits in Known
	fieldHeading
	fieldAccuracy
	fieldAltitude
	fieldBattery
	fieldDevice
	fieldEvent
	fieldTrip
	fields

	required = 1<<fieldRider | 1<<fieldTS | 1<<fieldLat | 1<<fieldLon
	numbers  = 1<<fieldLat | 1<<fieldLon | 1<<fieldSpeed | 1<<fieldHeading | 1<<fieldAccuracy | 1<<fieldAltitude | 1<<fieldBattery
	names    = 1<<fieldRider | 1<<fieldDevice | 1<<fieldEvent | 1<<fieldTrip
)

var fieldNames = [fields]string{
	"syntax", "rider_id", "ts", "lat", "lon",
	"speed", "heading", "accuracy", "altitude", "battery",
	"device_id", "event", "trip_id",
}

func fieldOf(key []byte) field {
	switch string(key) {
	case "rider_id":
		return fieldRider
	case "ts":
		return fieldTS
	case "lat":
		return fieldLat
	case "lon":
		return fieldLon
	case "speed":
		return fieldSpeed
	case "heading":
		return fieldHeading
	case "accuracy":
		return fieldAccuracy
	case "altitude":
		return fieldAltitude
	case "battery":
		return fieldBattery
	case "device_id":
		return fieldDevice
	case "event":
		return fieldEvent
	case "trip_id":
		return fieldTrip
	}
	return noField
}

// Decode reads the pings of a body and checks them against lim at now. The
// strings of the pings may share the body's memory.
//
// A body has one of four forms, told by its first bytes; white space and a
// UTF-8 byte order mark before them are skipped.
//
//   - [ starts an array of pings.
//   - { starts an object, on one line or many, if all of the body is one. With
//     the key "pings" it is a list, empty if its value is null; else it is a ping.
//   - Any other body is lines, if the second line that is not blank starts with {
//     or the first is an object on its own. Otherwise it is broken.
//
// Lines stand each for itself; the other forms are kept whole or, at an error of
// syntax, not at all. What tells lines from a broken object is thus that an
// object is printed without a line break before {, except in a list; so a broken
// first line that names "pings" makes the body a broken list.
//
// A body without pings is no error. Decode returns an error wrapping
// errMalformed for a body of which nothing can be kept, one wrapping ErrTooLarge
// for more than lim.MaxPings pings; d is then empty.
func (d *Decoded) Decode(body []byte, lim Limits, now time.Time) error {
	d.Reset()
	p := parser{b: body, out: d, lim: lim, now: now}
	err := p.body()
	if err != nil {
		d.Reset()
	}
	return err
}
