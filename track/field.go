package track

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"time"

	"pingline"
)

// field is a key of a ping of POST /v1/pings.
type field int

const (
	rider  = field(pingline.KeyRider)
	ts     = field(pingline.KeyTS)
	lat    = field(pingline.KeyLat)
	lon    = field(pingline.KeyLon)
	number = field(pingline.KeyNumbers) // the first of the optional numbers
	device = field(pingline.KeyDevice)
	event  = field(pingline.KeyEvent)
	trip   = field(pingline.KeyTrip)

	fields        = field(pingline.Keys)
	unknown field = -1
)

func (f field) String() string { return pingline.PingKey(f).String() }

func fieldOf(name []byte) field {
	if k, ok := pingline.KeyOf(name); ok {
		return field(k)
	}
	return unknown
}

// numberOf returns the field of an optional number.
func numberOf(k pingline.Known) field { return number + field(bits.TrailingZeros8(uint8(k))) }

// rowText is the values of a ping as text; an absent value is nil.
type rowText [fields][]byte

// names keeps a single copy of each name, as long as the names are few and not too long.
type names map[string]string

const maxNames = 4096

func (n *names) of(b []byte) string {
	if s, ok := (*n)[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(s) > pingline.MaxID {
		return s
	}
	if len(*n) >= maxNames || *n == nil {
		*n = make(names)
	}
	(*n)[s] = s
	return s
}

// ping fills p from r. The values must be of their fields' types, as in JSON, or
// without quotes, as in tables.
func (r *rowText) ping(p *pingline.Ping, n *names) error {
	for f := rider; f <= lon; f++ {
		if r[f] == nil {
			return &pingline.FieldError{Field: f.String(), Reason: "missing"}
		}
	}
	if err := r.setNames(p, n); err != nil {
		return err
	}
	at, err := parseTime(string(r[ts]))
	if err != nil {
		return err
	}
	p.At = at
	var values [device]float64
	for f := lat; f < device; f++ {
		if r[f] == nil {
			continue
		}
		v, err := strconv.ParseFloat(string(r[f]), 64)
		if err != nil && math.Abs(v) <= math.MaxFloat64 { // a number too large for a float64 is out of range, not of a wrong type
			return wrongType(f)
		}
		values[f] = v
	}
	if err := p.SetPosition(values[lat], values[lon]); err != nil {
		return err
	}
	for f := number; f < device; f++ {
		if r[f] != nil {
			p.SetOptional(1<<(f-number), values[f]) // a number out of range is unknown
		}
	}
	return nil
}

func (r *rowText) setNames(p *pingline.Ping, n *names) error {
	p.Rider = n.of(r[rider])
	if err := pingline.CheckID(rider.String(), p.Rider); err != nil {
		return err
	}
	if r[device] != nil {
		p.Device = n.of(r[device])
		if err := pingline.CheckID(device.String(), p.Device); err != nil {
			return err
		}
	}
	if r[event] != nil {
		p.Event = n.of(r[event])
		if err := pingline.CheckEvent(p.Event); err != nil {
			return err
		}
	}
	if r[trip] != nil {
		p.Trip = n.of(r[trip])
		return pingline.CheckID(trip.String(), p.Trip)
	}
	return nil
}

func wrongType(f field) error {
	reason := "not a number"
	if f == rider || f >= device {
		reason = "not a string"
	}
	return &pingline.FieldError{Field: f.String(), Reason: reason}
}

var errTime = &pingline.FieldError{Field: ts.String(), Reason: "neither whole ms since 1970 nor an RFC 3339 time"}

// explainTime returns errTime, or the error that a time's offset, +0100, has no colon.
func explainTime(s string) error {
	if _, err := time.Parse("2006-01-02T15:04:05Z0700", s); err == nil {
		return &pingline.FieldError{Field: ts.String(), Reason: "the offset of its time zone needs a colon: +01:00"}
	}
	return errTime
}

// The first and the last time that RFC 3339 can express, ms since 1970.
const (
	firstTime = -62_167_219_200_000 // year 0
	lastTime  = 253_402_300_799_999 // year 9999
)

// parseTime reads ms since 1970, or an RFC 3339 time, which it truncates to ms.
func parseTime(s string) (int64, error) {
	ms, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		var t time.Time
		if v, err := strconv.ParseFloat(s, 64); err == nil && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			ms = int64(v)
		} else if t.UnmarshalText([]byte(s)) == nil {
			ms = t.UnixMilli()
		} else {
			return 0, explainTime(s)
		}
	}
	if ms < firstTime || ms > lastTime {
		return 0, &pingline.FieldError{Field: ts.String(), Reason: fmt.Sprintf("%d ms since 1970 is not in the years 0 to 9999", ms)}
	}
	return ms, nil
}
