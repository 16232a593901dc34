package dedupe

// Ahead is how many pings Prefetch looks at.
const Ahead = 64

// ahead is what Prefetch found: the tracks of the pings to be judged next.
type ahead struct {
	tracks  [Ahead]uint32
	next, n int
	least   int    // slots of the index from which on it is worth it
	touched uint32 // keeps the reads from being left out
}

// With fewer slots, all that is known of the tracks is in the caches anyhow.
const leastSlots = 1 << 14
