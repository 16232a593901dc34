package ingest

import (
	"cmp"
	"slices"

	"pingline"
	"pingline/dedupe"
)

// RiderState is the filter's knowledge of a rider, between two commits.
type RiderState struct {
	Rider   string
	Tracks  []dedupe.NewestKnown
	Waiting []pingline.Entry // set by RiderLine

	line    *dedupe.Stretch // stretch for Waiting; nil: none
	written func() uint64   // as WriterConfig has it, for the stores that are read; nil: not known
	before  int64           // the watermark, ms: commits on their way to the store change nothing before it
}

// RiderState returns the state of a rider. It waits for the commit that is on its
// way to disk, and returns an error wrapping ErrUnavailable as Submit does.
func (w *Writer) RiderState(rider string) (*RiderState, error) {
	return w.Beside(w.cfg.Written).RiderState(rider)
}

// Beside is the Writer as readers of some stores see it.
type Beside struct {
	w       *Writer
	written func() uint64
}

// Beside returns the Writer beside stores that have all commits before the number that
// written returns.
func (w *Writer) Beside(written func() uint64) Beside { return Beside{w, written} }

// RiderState is that of the Writer.
func (b Beside) RiderState(rider string) (*RiderState, error) {
	return b.w.ask(&RiderState{Rider: rider, written: b.written})
}

// RiderStates returns the state of each rider, as RiderState does, by a single question.
func (w *Writer) RiderStates(riders []string) ([]RiderState, error) {
	list := make(riderStates, len(riders))
	for i, rider := range riders {
		list[i].Rider = rider
	}
	return list, w.Submit(&Job{asks: list})
}

type riderStates []RiderState

func (list riderStates) fill(w *Writer) {
	for i := range list {
		list[i].fill(w)
	}
}

// RiderLine returns the state of a rider as RiderState does, and sets Waiting to the
// pings of from <= ts < to that the store may not have yet: held pings, and vertices on
// their way to the store, with time and position only. Late pings are left out. At most
// most pings are returned, the earliest. Device selects a device, "" all devices.
func (w *Writer) RiderLine(rider, device string, from, to int64, most int) (*RiderState, error) {
	return w.Beside(w.cfg.Written).RiderLine(rider, device, from, to, most)
}

// RiderLine is that of the Writer.
func (b Beside) RiderLine(rider, device string, from, to int64, most int) (*RiderState, error) {
	return b.w.ask(&RiderState{Rider: rider, written: b.written, line: &dedupe.Stretch{Device: device, From: from, To: to, Most: most}})
}

// question is a question about the filter's state.
type question interface {
	// fill is called by the writer, when all earlier jobs have been judged.
	fill(w *Writer)
}

func (w *Writer) ask(l *RiderState) (*RiderState, error) {
	if err := w.Submit(&Job{asks: l}); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *RiderState) fill(w *Writer) {
	l.Tracks = w.filter.Known(l.Tracks[:0], l.Rider)
	next := uint64(0)
	if l.written != nil {
		next = l.written()
	}
	l.before = min(w.watermark.At(next), w.oldest)
	if l.line != nil {
		l.line.Vertices = l.before
		l.Waiting = earliest(w.filter.Line(nil, l.Rider, *l.line), l.line.Most)
	}
}

// earliest returns the earliest n pings of list, which may be much longer.
func earliest(list []pingline.Entry, n int) []pingline.Entry {
	if len(list) <= n {
		return list
	}
	slices.SortStableFunc(list, func(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) })
	return slices.Clone(list[:n])
}

// Waits reports whether the newest ping of a track may not be stored yet.
func (l *RiderState) Waits(k *dedupe.NewestKnown) bool { return k.Held || k.Fix.At >= l.before }

// Complete returns the time, ms, before which readers find every accepted ping of
// the rider's device, or of all devices if device is "": stored, or on the line between
// stored points. It is the smallest int64 if that is not known, and the largest if no
// ping is on its way.
func (l *RiderState) Complete(device string) int64 {
	at := l.before
	for i := range l.Tracks {
		if k := &l.Tracks[i]; device == "" || k.Device == device {
			at = min(at, k.Complete)
		}
	}
	return at
}
