package pingline

// PingKey is a key of a ping's JSON form, and a column of a track file. The keys from
// KeyNumbers on are the optional numbers, in the order of the table Numbers.
type PingKey uint8

// The keys; the keys that a ping must have come first.
const (
	KeyRider PingKey = iota
	KeyTS
	KeyLat
	KeyLon
	KeyNumbers
	KeyDevice PingKey = iota + numbers - 1
	KeyEvent
	KeyTrip

	Keys // the number of keys
)

// The texts of the keys.
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
// because the parser calls it for every key of every ping: with a hash table the
// parser was 8 % slower.
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
