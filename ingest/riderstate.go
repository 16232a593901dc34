package ingest

import "pingline/dedupe"

// RiderState is all that the filter knows of a rider, between two commits.
type RiderState struct {
	Rider  string
	Tracks []dedupe.Known

	before int64 // the watermark, ms: commits on their way to the store change nothing before it
}

// RiderState returns the state of a rider. It waits for the commit that is on its
// way to disk, and returns an error wrapping ErrUnavailable as Submit does.
func (w *Writer) RiderState(rider string) (*RiderState, error) {
	l := &RiderState{Rider: rider}
	if err := w.Submit(&Job{asks: l}); err != nil {
		return nil, err
	}
	return l, nil
}

// fill is called by the writer, when all before it has been judged.
func (l *RiderState) fill(w *Writer) {
	l.Tracks = w.filter.Known(l.Tracks[:0], l.Rider)
	next := uint64(0)
	if w.cfg.Written != nil {
		next = w.cfg.Written()
	}
	l.before = min(w.watermark.at(next), w.oldest)
}

// Complete returns the time, ms, before which readers find every accepted ping of
// the rider's device, or of all devices if device is "": stored, or on the line
// between stored points. It is the smallest int64 if that is not
// known, and the largest if nothing is on its way.
func (l *RiderState) Complete(device string) int64 {
	at := l.before
	for i := range l.Tracks {
		if k := &l.Tracks[i]; device == "" || k.Device == device {
			at = min(at, k.Complete)
		}
	}
	return at
}
