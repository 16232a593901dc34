package ingest

import "pingline/dedupe"

// NewestPings asks for the newest pings of all tracks, in parts, so that no part keeps
// the writer from judging for longer than about a millisecond.
type NewestPings struct {
	Track uint32 // in: the last track of the part before, 0 for the first part; out: the last track of this part, 0 at the end
	Since uint64 // in: tracks without a ping since this stamp are left out; 0: none is

	List   []dedupe.Newest // out: used again by the next part
	Stamp  uint64          // out: the stamp of this moment
	Filter uint64          // out: number of the filter; numbers of tracks and stamps are of no use to another filter
}

// newestPart is the most pings of a part. A ping that is not in a cache of the processor
// costs about 0.1 µs.
const newestPart = 2048

// NewestPings fills in the next part. It waits for the commit that is on its way to disk,
// and returns an error wrapping ErrUnavailable as Submit does.
func (w *Writer) NewestPings(n *NewestPings) error { return w.Submit(&Job{asks: n}) }

func (n *NewestPings) fill(w *Writer) {
	n.Stamp, n.Filter = w.filter.Stamp(), w.filters
	n.List, n.Track = w.filter.Newest(n.List[:0], n.Track, n.Since, newestPart)
}
