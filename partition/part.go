package partition

import "math/bits"

// MaxParts is the most parts that riders are hashed into.
const MaxParts = 64

// Part returns the part of [0, parts) of a rider's pings, whatever their cells; parts is a power of two of
// [1, MaxParts]. With twice as many parts, part p is cut into 2p and 2p+1. It is the top bits of RiderKey: a cell's
// sub-keys take the lowest, and shards a hash of all, so that the riders of a part are spread over both.
func Part(rider string, parts int) int {
	if parts <= 1 {
		return 0
	}
	return int(uint64(RiderKey(rider)) >> (65 - bits.Len(uint(parts))))
}
