package phone

import "pingline"

// Field is a key of a ping; fields are checked in the order of their numbers. Its String
// is the key in the native protocol and in metrics.
type Field uint8

// The fields of a ping: each is its pingline.PingKey plus 1.
const (
	NoField Field = 0
	Rider         = 1 + Field(pingline.KeyRider)  // name, required
	TS            = 1 + Field(pingline.KeyTS)     // time, required
	Lat           = 1 + Field(pingline.KeyLat)    // degrees, required
	Lon           = 1 + Field(pingline.KeyLon)    // degrees, required
	Device        = 1 + Field(pingline.KeyDevice) // name
	Event         = 1 + Field(pingline.KeyEvent)  // name
	Trip          = 1 + Field(pingline.KeyTrip)   // name
	fields        = 1 + Field(pingline.Keys)

	// Attrs is the key of the attributes, an object of names and values.
	Attrs = fields

	// PrivateZone is no field: a reason for which a valid ping is rejected.
	PrivateZone = fields + 1
	reasons     = fields + 2

	required = 1<<Rider | 1<<TS | 1<<Lat | 1<<Lon
)

// The optional numbers, in the units and the order of pingline.Numbers. Their fields are
// between Lon and Device.
const (
	Speed Field = iota + 1 + Field(pingline.KeyNumbers)
	Heading
	Accuracy
	Altitude
	Battery
)

func (f Field) String() string {
	switch f {
	case NoField:
		return "syntax"
	case Attrs:
		return pingline.KeyAttrs
	case PrivateZone:
		return "private_zone"
	}
	return pingline.PingKey(f - 1).String()
}

// FieldOf returns the field with a key, or NoField.
func FieldOf(key []byte) Field {
	if k, ok := pingline.KeyOf(key); ok {
		return 1 + Field(k)
	}
	if string(key) == pingline.KeyAttrs {
		return Attrs
	}
	return NoField
}

// Draft is a ping as a client sent it, before it is checked: any number may be out of
// range, and any field may be missing. An optional number is unknown if it is negative
// and its range starts at 0. The zero Draft has no field.
//
// NaN and ±Inf are out of range: a position with them is invalid, an optional number is
// unknown. A time that overflows is set to the end of int64 that it lies beyond, so that
// it is out of its limits. Digits behind the millisecond are cut off. A float64 of
// seconds is rounded to the nearest microsecond before, because its fraction alone may
// be 0.1229999 for 0.123. So an instant is the same ping in every protocol.
type Draft struct {
	given  uint16 // bit f: field f is set
	at     int64
	number [fields]float64
	name   [fields]string
	attrs  pingline.Attrs
}

// Reset makes d a draft without fields.
func (d *Draft) Reset() { d.given = 0 }

// SetTime sets TS, ms since 1970.
func (d *Draft) SetTime(ms int64) {
	d.at = ms
	d.given |= 1 << TS
}

// SetNumber sets Lat, Lon or an optional number, in the unit of the field.
func (d *Draft) SetNumber(f Field, v float64) {
	d.number[f] = v
	d.given |= 1 << f
}

// SetName sets Rider, Device, Event or Trip. An empty Device, Event or Trip counts as
// missing.
func (d *Draft) SetName(f Field, s string) {
	d.name[f] = s
	d.given |= 1 << f
}

// SetAttrs sets the attributes, as Pings.Attrs returns them.
func (d *Draft) SetAttrs(a pingline.Attrs) {
	d.attrs = a
	d.given |= 1 << Attrs
}

// Unset makes a field missing.
func (d *Draft) Unset(f Field) { d.given &^= 1 << f }
