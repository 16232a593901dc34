package ingest

import "pingline/dedupe"

// Look is what is known of a rider at one moment, between two commits.
type Look struct {
	Rider  string
	Tracks []dedupe.Known

	before int64 // what is yet to be stored, of any rider, changes nothing before this time, ms
}

// Look returns what is known of a rider. It waits for what is on its way to
// disk, and returns an error wrapping ErrUnavailable as Submit does.
func (w *Writer) Look(rider string) (*Look, error) {
	l := &Look{Rider: rider}
	if err := w.Submit(&Job{look: l}); err != nil {
		return nil, err
	}
	return l, nil
}

// fill is called by the writer, when all before it has been judged.
func (l *Look) fill(w *Writer) {
	l.Tracks = w.filter.Known(l.Tracks[:0], l.Rider)
	next := uint64(0)
	if w.cfg.Written != nil {
		next = w.cfg.Written()
	}
	l.before = min(w.pending.before(next), w.oldest)
}

// Complete returns the time, ms, before which all that was taken in of the
// rider's device, or of all if device is "", is where readers find it: stored, or
// on the line between what is stored. It is the smallest int64 if that is not
// known, and the largest if nothing is on its way.
func (l *Look) Complete(device string) int64 {
	at := l.before
	for i := range l.Tracks {
		if k := &l.Tracks[i]; device == "" || k.Device == device {
			at = min(at, k.Complete)
		}
	}
	return at
}
