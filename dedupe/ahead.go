package dedupe

// Ahead is the number of pings that Prefetch looks at.
const Ahead = 64

// ahead holds the tracks that Prefetch found for the pings to be judged next.
type ahead struct {
	tracks  [Ahead]uint32
	next, n int
	least   int    // slots of the index below which Prefetch does nothing
	touched uint32 // uses the values read, so that the compiler keeps the reads
}

// leastSlots: with fewer slots of the index, all tracks fit in the processor's caches.
const leastSlots = 1 << 14
