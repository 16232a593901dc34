package dedupe

import (
	"strings"

	"pingline/dedupe/vertices"
)

// Each trip of a track is on at least one stored ping. The first ping of a trip is
// stored, and later pings of the trip may be dropped as long as the filter knows that.
// It knows the trip of the newest ping, and earlier trips by marks: if a mark is
// forgotten, the next ping of its trip is stored again.

// noLine is a bound that no line meets, so that the ping will be stored.
const noLine = -1

// tripMark is the mark of a trip that is on a stored ping. No event has the time
// longAgo, so that it differs from the marks of events.
func tripMark(trip string) vertices.Fingerprint { return vertices.NewMark(longAgo, trip) }

// knowsTrip reports whether a stored ping of the track is known to have the trip, or
// trip is "".
func (f *Filter) knowsTrip(i uint32, trip string) bool {
	if trip == "" || trip == f.names.At(i).trip {
		return true
	}
	t := f.tracks.At(i)
	return t.marks != 0 && f.blocks.Remembers(t.marks, tripMark(trip))
}

// changeTrip sets the trip of the track's newest ping, and reports whether it changed.
func (f *Filter) changeTrip(i uint32, trip string) bool {
	n := f.names.At(i)
	if n.trip == trip {
		return false
	}
	before := n.trip
	f.text += textBytes(trip) - textBytes(before)
	n.trip = strings.Clone(trip)
	if !f.knowsTrip(i, before) {
		f.blocks.Remember(i, tripMark(before))
	}
	return true
}
