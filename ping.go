// Package pingline holds the words that all of Pingline shares: the location
// ping a phone sends, the rules it must meet, the entry it becomes in the log
// and the line it becomes in InfluxDB.
//
// The package promises that what an Entry says survives encoding bit for bit,
// and that a field a phone did not send stays unknown rather than zero. It does
// no I/O and imports nothing of ours.
package pingline

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Errors that more than one package tells apart.
var (
	// ErrInvalid is wrapped by every refusal of a ping for what it says.
	ErrInvalid = errors.New("invalid ping")
	// ErrCorrupt is wrapped by every refusal of bytes read back from the log.
	ErrCorrupt = errors.New("corrupt log entry")
	// ErrNewer is wrapped by the refusal of a form that a later version of this
	// program has written. It is not damage: nothing may be dropped for it.
	ErrNewer = errors.New("written by a newer version of Pingline: start that one")
)

// FieldError is the refusal of one field of a ping; it wraps ErrInvalid.
type FieldError struct {
	Field  string // key in the JSON form, such as "lat"
	Reason string // what the limit is, such as "not in [-90, 90]"
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

func (e *FieldError) Unwrap() error { return ErrInvalid }

// Known tells which optional numbers of a Fix were sent.
type Known uint8

// The optional numbers of a Fix.
const (
	HasSpeed Known = 1 << iota
	HasHeading
	HasAccuracy
	HasAltitude
	HasBattery

	knownMask = 1<<iota - 1
)

// E7 is the number of position units in a degree: a position is held to
// 1e-7 degree, about a centimetre.
const E7 = 1e7

// Fix is one position computed by a rider's receiver.
type Fix struct {
	At       int64   // receiver clock, ms since 1970 UTC
	LatE7    int32   // latitude WGS 84, 1e-7 degree, [-90, 90] degrees
	LonE7    int32   // longitude WGS 84, 1e-7 degree, [-180, 180] degrees
	Speed    float32 // m/s, [0, 1000], if HasSpeed
	Heading  float32 // degrees clockwise from north, [0, 360], if HasHeading
	Accuracy float32 // metres, radius of the 68 % circle, [0, 1e6], if HasAccuracy
	Altitude float32 // metres, [-1e5, 1e5], if HasAltitude
	Battery  float32 // charge, [0, 1], if HasBattery
	Known    Known   // which of the above are known; the others are 0
}

// Ping is the message: a fix of one rider's device. Rider and Device name the
// track; with At they identify the ping.
type Ping struct {
	Rider  string // 1–64 of A-Z a-z 0-9 . _ : @ -
	Device string // as Rider; "" if the rider has one device
	Event  string // [a-z0-9_]{1,32}; "" if none
	Trip   string // as Rider; "" if none
	Fix
}

// Lat returns the latitude in degrees.
func (f *Fix) Lat() float64 { return float64(f.LatE7) / E7 }

// Lon returns the longitude in degrees.
func (f *Fix) Lon() float64 { return float64(f.LonE7) / E7 }

// Time returns the time of the fix.
func (f *Fix) Time() time.Time { return time.UnixMilli(f.At).UTC() }

// Has reports whether all of k are known.
func (f *Fix) Has(k Known) bool { return f.Known&k == k }

// SamePlace reports whether both fixes have the same position.
func (f *Fix) SamePlace(g *Fix) bool { return f.LatE7 == g.LatE7 && f.LonE7 == g.LonE7 }

// SetPosition sets the position, in degrees, rounded to 1e-7. It returns a
// *FieldError for a position that is off the globe, not a number, or exactly
// 0,0, which is what broken receivers send.
func (f *Fix) SetPosition(lat, lon float64) error {
	if !(lat >= -90 && lat <= 90) {
		return &FieldError{"lat", "not in [-90, 90]"}
	}
	if !(lon >= -180 && lon <= 180) {
		return &FieldError{"lon", "not in [-180, 180]"}
	}
	if lat == 0 && lon == 0 {
		return &FieldError{"lat", "position 0,0 is refused"}
	}
	f.LatE7 = int32(math.Round(lat * E7))
	f.LonE7 = int32(math.Round(lon * E7))
	return nil
}

// Ranges of the optional numbers, by position of their bit. Negative values of
// those whose range starts at 0 are what phones send for "unknown".
var optional = [...]struct {
	name   string
	lo, hi float64
}{
	{"speed", 0, 1000},
	{"heading", 0, 360},
	{"accuracy", 0, 1e6},
	{"altitude", -1e5, 1e5},
	{"battery", 0, 1},
}

// SetOptional sets the optional number k (one bit) to v. It reports whether v
// was out of range and is therefore unknown though sent: a negative value where
// that has no meaning is unknown, but not out of range.
func (f *Fix) SetOptional(k Known, v float64) (outOfRange bool) {
	var dst *float32
	var i int
	switch k {
	case HasSpeed:
		dst, i = &f.Speed, 0
	case HasHeading:
		dst, i = &f.Heading, 1
	case HasAccuracy:
		dst, i = &f.Accuracy, 2
	case HasAltitude:
		dst, i = &f.Altitude, 3
	case HasBattery:
		dst, i = &f.Battery, 4
	default:
		panic(fmt.Sprintf("pingline: %#x is not one optional number", k))
	}
	r := &optional[i]
	*dst, f.Known = 0, f.Known&^k
	if !(v >= r.lo && v <= r.hi) {
		return v >= 0 || r.lo < 0 || v != v
	}
	*dst, f.Known = float32(v)+0, f.Known|k // +0 turns -0 into 0
	return false
}

// Validate returns a *FieldError for a name or a position that no ping can have.
func (p *Ping) Validate() error {
	if err := CheckName("rider_id", p.Rider); err != nil {
		return err
	}
	for _, n := range [...]struct{ field, name string }{{"device_id", p.Device}, {"trip_id", p.Trip}} {
		if n.name == "" {
			continue
		}
		if err := CheckName(n.field, n.name); err != nil {
			return err
		}
	}
	if p.Event != "" {
		if err := CheckEvent(p.Event); err != nil {
			return err
		}
	}
	at := p.Fix
	return at.SetPosition(p.Lat(), p.Lon())
}

// Lengths of names.
const (
	MaxName  = 64 // rider_id, device_id, trip_id
	MaxEvent = 32
)

// nameByte and eventByte mark the bytes allowed in names and events.
var nameByte, eventByte [256]bool

func init() {
	for c := '0'; c <= '9'; c++ {
		nameByte[c], eventByte[c] = true, true
	}
	for c := 'a'; c <= 'z'; c++ {
		nameByte[c], nameByte[c-'a'+'A'], eventByte[c] = true, true, true
	}
	for _, c := range "._:@-" {
		nameByte[c] = true
	}
	eventByte['_'] = true
}

// CheckName returns a *FieldError for field unless s is 1–64 of
// A-Z a-z 0-9 . _ : @ -.
func CheckName(field, s string) error {
	return checkBytes(field, s, MaxName, &nameByte, "A-Z a-z 0-9 . _ : @ -")
}

// CheckEvent returns a *FieldError unless s is 1–32 of a-z 0-9 _.
func CheckEvent(s string) error {
	return checkBytes("event", s, MaxEvent, &eventByte, "a-z 0-9 _")
}

func checkBytes(field, s string, most int, allowed *[256]bool, set string) error {
	if len(s) == 0 || len(s) > most {
		return &FieldError{field, fmt.Sprintf("length %d not in [1, %d]", len(s), most)}
	}
	for i := range len(s) {
		if !allowed[s[i]] {
			return &FieldError{field, "characters other than " + set}
		}
	}
	return nil
}

// TimeLimits says how old a ping may be, and how far ahead of our clock.
type TimeLimits struct {
	MaxAge   time.Duration
	MaxAhead time.Duration
	Kept     time.Duration // how long the store keeps what it has; 0: for ever, or not known
}

// keptMargin is how long a ping may be on its way to the store.
const keptMargin = time.Minute

// Check returns a *FieldError if at (ms since 1970) is out of the limits at now.
func (l TimeLimits) Check(at int64, now time.Time) error {
	ms := now.UnixMilli()
	switch {
	case l.Kept > 0 && l.Kept <= l.MaxAge && at < ms-max(l.Kept-keptMargin, l.Kept/2).Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("older than the %s that the store keeps", days(l.Kept))}
	case at < ms-l.MaxAge.Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("more than %v behind", l.MaxAge)}
	case at > ms+l.MaxAhead.Milliseconds():
		return &FieldError{"ts", fmt.Sprintf("more than %v ahead", l.MaxAhead)}
	}
	return nil
}

// days writes a duration as people say how long something is kept.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day && d%day == 0:
		return fmt.Sprintf("%d d", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return d.Round(time.Second).String()
}
