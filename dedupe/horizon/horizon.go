// Package horizon remembers up to which time pings may have been forgotten or lost, on a
// clock that may go back.
package horizon

// Horizon is a time, ms since 1970, up to which pings may have been forgotten or lost.
type Horizon struct {
	Counts int64 // the time that counts now
	Said   int64 // the time that will count once our clock is as late; it never falls
}

// Raise moves the horizon to later times; it never goes back.
func (h *Horizon) Raise(counts, said int64) {
	h.Counts, h.Said = max(h.Counts, counts), max(h.Said, said)
}

// Tell tells the horizon the time. It reports whether our clock had been behind the
// horizon and is not any more.
func (h *Horizon) Tell(ms int64) (caught bool) {
	if ms < h.Said {
		h.Counts = min(h.Counts, ms)
		return false
	}
	caught = h.Counts < h.Said
	h.Counts = h.Said
	return caught
}
