package dedupe

// MaxDevices is the most tracks of a rider that name a device and are known at once.
// Beyond, the longest silent track is forgotten and its held ping stored.
const MaxDevices = 16

// devices are the tracks of a rider that name a device. Most riders have a single
// track without a device, which is found without this type.
type devices struct {
	tracks []uint32

	// forgot is as Filter.forgot, for tracks that had to make room for tracks of the
	// same rider: so a rider with many devices makes no other rider's tracks late. It
	// lasts as long as the rider has tracks here, and counts for all riders when the
	// last of its tracks goes.
	forgot int64
}
