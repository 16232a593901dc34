package dedupe

// MaxDevices is how many tracks of a rider that name a device are known at once.
// Beyond, the one that was silent for longest is forgotten, its held ping stored.
const MaxDevices = 16

// devices are the tracks of one rider that name a device; most riders have one
// track without a name, which is found without this.
type devices struct {
	tracks []uint32

	// forgot is what Filter.forgot is, for tracks of this rider that had to make
	// room for others of the same rider: a rider with many devices makes its own
	// new tracks late, and nobody else's. It lasts as long as the rider has tracks
	// here, and counts for all tracks when the last of them goes.
	forgot int64
}
