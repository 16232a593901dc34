package pingline

// PingKey is a key of a ping's JSON form, which is that of a column in track files. The
// optional numbers are KeyNumbers and those behind it, as the table Numbers has them.
type PingKey uint8

// The keys, those that a ping must have first.
const (
	KeyRider PingKey = iota
	KeyTS
	KeyLat
	KeyLon
	KeyNumbers
	KeyDevice PingKey = iota + numbers - 1
	KeyEvent
	KeyTrip

	Keys // how many there are
)

// The texts of the keys, once each.
const (
	keyRider    = "rider_id"
	keyTS       = "ts"
	keyLat      = "lat"
	keyLon      = "lon"
	keySpeed    = "speed"
	keyHeading  = "heading"
	keyAccuracy = "accuracy"
	keyAltitude = "altitude"
	keyBattery  = "battery"
	keyDevice   = "device_id"
	keyEvent    = "event"
	keyTrip     = "trip_id"
)

// KeyNames is the text of each key.
var KeyNames = func() (names [Keys]string) {
	names = [Keys]string{
		KeyRider: keyRider, KeyTS: keyTS, KeyLat: keyLat, KeyLon: keyLon,
		KeyDevice: keyDevice, KeyEvent: keyEvent, KeyTrip: keyTrip,
	}
	for i := range Numbers {
		names[KeyNumbers+PingKey(i)] = Numbers[i].Key
	}
	return names
}()

func (k PingKey) String() string { return KeyNames[k] }

// KeyOf returns the key of that name, or false if there is none. It is a switch
// because the parser asks it about every key of every ping: a hash table made the
// parser slower by 8 %.
func KeyOf(name []byte) (PingKey, bool) {
	switch string(name) {
	case keyRider:
		return KeyRider, true
	case keyTS:
		return KeyTS, true
	case keyLat:
		return KeyLat, true
	case keyLon:
		return KeyLon, true
	case keySpeed:
		return KeyNumbers, true
	case keyHeading:
		return KeyNumbers + 1, true
	case keyAccuracy:
		return KeyNumbers + 2, true
	case keyAltitude:
		return KeyNumbers + 3, true
	case keyBattery:
		return KeyNumbers + 4, true
	case keyDevice:
		return KeyDevice, true
	case keyEvent:
		return KeyEvent, true
	case keyTrip:
		return KeyTrip, true
	}
	return 0, false
}
