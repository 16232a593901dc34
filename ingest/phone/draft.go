package phone

// Field is a key of a ping, in the order in which they are checked. Its String is
// the key in our own form, and in metrics.
type Field uint8

// The fields of a ping.
const (
	NoField  Field = iota
	Rider          // name, required
	TS             // time, required
	Lat            // degrees, required
	Lon            // degrees, required
	Speed          // m/s; from here on in the order of the bits of pingline.Known
	Heading        // degrees clockwise from north
	Accuracy       // metres
	Altitude       // metres
	Battery        // [0, 1]
	Device         // name
	Event          // name
	Trip           // name
	fields

	required = 1<<Rider | 1<<TS | 1<<Lat | 1<<Lon
)

var fieldNames = [fields]string{
	"syntax", "rider_id", "ts", "lat", "lon",
	"speed", "heading", "accuracy", "altitude", "battery",
	"device_id", "event", "trip_id",
}

func (f Field) String() string { return fieldNames[f] }

// FieldOf returns the field with a key, or NoField.
func FieldOf(key []byte) Field {
	switch string(key) {
	case "rider_id":
		return Rider
	case "ts":
		return TS
	case "lat":
		return Lat
	case "lon":
		return Lon
	case "speed":
		return Speed
	case "heading":
		return Heading
	case "accuracy":
		return Accuracy
	case "altitude":
		return Altitude
	case "battery":
		return Battery
	case "device_id":
		return Device
	case "event":
		return Event
	case "trip_id":
		return Trip
	}
	return NoField
}

// Draft is a ping as a client says it, before it is checked: any number may be out
// of range, and any field but the required ones missing. A negative number where
// that has no meaning is an unknown one. The zero Draft has no field.
type Draft struct {
	given  uint16 // bit f: field f is set
	at     int64
	number [fields]float64
	name   [fields]string
}

// Reset makes d a draft without fields.
func (d *Draft) Reset() { d.given = 0 }

// SetTime sets TS, ms since 1970.
func (d *Draft) SetTime(ms int64) {
	d.at = ms
	d.given |= 1 << TS
}

// SetNumber sets Lat, Lon or one of the optional numbers, in the unit of the field.
func (d *Draft) SetNumber(f Field, v float64) {
	d.number[f] = v
	d.given |= 1 << f
}

// SetName sets Rider, Device, Event or Trip. An empty name is one that is set, and
// will be rejected.
func (d *Draft) SetName(f Field, s string) {
	d.name[f] = s
	d.given |= 1 << f
}

// Unset makes a field missing.
func (d *Draft) Unset(f Field) { d.given &^= 1 << f }
