package dedupe

import (
	"math"

	"pingline"
)

// NewestKnown is the newest ping of a track, as far as the filter knows it.
type NewestKnown struct {
	Device string
	Held   bool         // the newest ping is held: Fix and Cell are complete
	Fix    pingline.Fix // of a stored ping only time and position
	Cell   uint64
	Trip   string
	Attrs  pingline.Attrs // of a held ping

	// Complete is the time, ms, before which every ping taken in is stored, or lies on
	// the line between stored pings; the largest int64 if that holds for all pings.
	Complete int64
}

// Known appends to dst the newest ping of each of a rider's tracks; late pings do not
// count.
func (f *Filter) Known(dst []NewestKnown, rider string) []NewestKnown {
	f.endLoad()
	for _, i := range f.tracksOf(rider) {
		dst = f.appendKnown(dst, i)
	}
	return dst
}

func (f *Filter) appendKnown(dst []NewestKnown, i uint32) []NewestKnown {
	t, n := f.tracks.At(i), f.names.At(i)
	_, device := RiderDevice(n.key)
	k := NewestKnown{Device: device, Trip: n.trip, Complete: math.MaxInt64}
	since := int64(math.MinInt64) // start of the open line
	if t.N > 0 {
		s := t.Last()
		k.Fix = pingline.Fix{At: s.At, LatE7: s.Lat, LonE7: s.Lon}
		since = s.At + 1
	}
	if t.holds {
		k.Held, k.Fix, k.Cell, k.Attrs = true, t.fix, t.cell, f.carried.Held(i, false)
		k.Complete = since
	} else if t.N == 0 {
		return dst
	}
	if t.backlog != 0 {
		k.Complete = min(k.Complete, f.backlogs.At(t.backlog).unmoved())
	}
	return append(dst, k)
}
