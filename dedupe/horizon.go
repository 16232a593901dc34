package dedupe

// horizon is a time, ms since 1970, up to which pings may have been forgotten or lost.
type horizon struct {
	counts int64 // the time that counts now
	said   int64 // the time that will count once our clock is as late; it never falls
}

func (h *horizon) raise(counts, said int64) {
	h.counts, h.said = max(h.counts, counts), max(h.said, said)
}

// tell tells the horizon the time. It reports whether our clock had been behind the
// horizon and is not any more.
func (h *horizon) tell(ms int64) (caught bool) {
	if ms < h.said {
		h.counts = min(h.counts, ms)
		return false
	}
	caught = h.counts < h.said
	h.counts = h.said
	return caught
}
