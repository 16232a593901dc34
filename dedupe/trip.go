package dedupe

import (
	"strings"

	"pingline/dedupe/vertices"
)

// Each trip that pings of a track bear is on one of its stored points. The first of
// its pings to come is stored; the others may be dropped as long as the filter knows
// that one of them was. It knows the trip of the newest ping, and marks tell of those
// before: where they are forgotten, what comes is stored once more.

// noLine is the bound of a ping that no line may pass: it will be stored.
const noLine = -1

// tripMark tells of a trip that is on a stored point. No event is of that time.
func tripMark(trip string) vertices.Fingerprint { return vertices.NewMark(longAgo, trip) }

// knowsTrip reports whether a stored point of the track bears the trip, or there is
// no need for one.
func (f *Filter) knowsTrip(i uint32, trip string) bool {
	if trip == "" || trip == f.names.At(i).trip {
		return true
	}
	t := f.tracks.At(i)
	return t.marks != 0 && f.blocks.Remembers(t.marks, tripMark(trip))
}

// changeTrip makes trip that of the track's newest ping, and reports whether it was
// another.
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
