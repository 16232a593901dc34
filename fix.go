package pingline

import (
	"fmt"
	"math"
	"math/bits"
	"time"
	"unsafe"
)

// Fix is one position computed by a rider's receiver.
type Fix struct {
	At       int64   // receiver clock, ms since 1970 UTC
	LatE7    int32   // latitude WGS 84, 1e-7 degree, [-90, 90] degrees
	LonE7    int32   // longitude WGS 84, 1e-7 degree, [-180, 180] degrees
	Speed    float32 // m/s, if HasSpeed
	Heading  float32 // degrees clockwise from north, if HasHeading
	Accuracy float32 // metres, radius of the 68 % circle, if HasAccuracy
	Altitude float32 // metres, if HasAltitude
	Battery  float32 // charge, if HasBattery
	Known    Known   // bits of the optional numbers that are known; an unknown number is 0

	Corrected bool // the receiver's clock was wrong: At is a guess from the time of arrival
}

// Known tells which optional numbers of a Fix were sent.
type Known uint8

// The optional numbers of a Fix: a bit for each.
const (
	HasSpeed Known = 1 << iota
	HasHeading
	HasAccuracy
	HasAltitude
	HasBattery

	knownMask = 1<<iota - 1
	numbers   = iota - 1
)

// Number describes an optional number of a ping.
type Number struct {
	Key    string  // in JSON, in track files and in stores
	Unit   string  // "" if it has none
	Lo, Hi float64 // a value outside [Lo, Hi] is unknown
	Range  string  // Lo and Hi as documents print them
}

// Numbers is the table of the optional numbers: number i has bit 1<<i in Known,
// and place i in Fix.Numbers. Phones send a negative value for "unknown" where the
// range starts at 0.
//
// A new number needs a row here, a bit of Known and a field of Fix, each at the end,
// its text and its case in key.go, and a version of the commit in which it may
// appear. JSON, line protocol, queries, track files, answers and the check of the
// documents follow from the table.
var Numbers = [numbers]Number{
	{keySpeed, "m/s", 0, 1000, "[0, 1000]"},
	{keyHeading, "degrees", 0, 360, "[0, 360]"},
	{keyAccuracy, "m", 0, 1e6, "[0, 1e6]"},
	{keyAltitude, "m", -1e5, 1e5, "[-1e5, 1e5]"},
	{keyBattery, "", 0, 1, "[0, 1]"},
}

// Fix.Numbers needs the fields from Speed to Battery to be contiguous in memory.
var _ = [1]struct{}{}[unsafe.Offsetof(Fix{}.Battery)-unsafe.Offsetof(Fix{}.Speed)-(numbers-1)*unsafe.Sizeof(Fix{}.Speed)]

// Numbers returns the optional numbers of f, in the order of the table; an unknown
// number is 0.
func (f *Fix) Numbers() *[numbers]float32 {
	return (*[numbers]float32)(unsafe.Pointer(&f.Speed))
}

// E7 is the number of position units in a degree: a position is held to
// 1e-7 degree, about a centimetre.
const E7 = 1e7

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
// *FieldError for a position that is off the globe, not a number, or 0,0 once it is
// rounded: broken receivers send 0,0.
func (f *Fix) SetPosition(lat, lon float64) error {
	if !(lat >= -90 && lat <= 90) {
		return &FieldError{"lat", "not in [-90, 90]"}
	}
	if !(lon >= -180 && lon <= 180) {
		return &FieldError{"lon", "not in [-180, 180]"}
	}
	latE7, lonE7 := int32(math.Round(lat*E7)), int32(math.Round(lon*E7))
	if latE7 == 0 && lonE7 == 0 {
		return &FieldError{"lat", "position 0,0 is refused"}
	}
	f.LatE7, f.LonE7 = latE7, lonE7
	return nil
}

// SetOptional sets the optional number k (a single bit) to v. It reports whether v
// was out of range, so that the number is unknown though it was sent. A negative v
// where the range starts at 0 means unknown, and is not out of range.
func (f *Fix) SetOptional(k Known, v float64) (outOfRange bool) {
	i := bits.TrailingZeros8(uint8(k))
	if i >= numbers || k != 1<<i {
		panic(fmt.Sprintf("pingline: %#x is not one optional number", k))
	}
	r, dst := &Numbers[i], &f.Numbers()[i]
	*dst, f.Known = 0, f.Known&^k
	if !(v >= r.Lo && v <= r.Hi) {
		return v >= 0 || r.Lo < 0 || v != v
	}
	*dst, f.Known = float32(v)+0, f.Known|k // +0 turns -0 into 0
	return false
}
