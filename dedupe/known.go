package dedupe

import (
	"math"

	"pingline"
)

// NewestKnown is what the filter knows of one track's newest ping.
type NewestKnown struct {
	Device string
	Held   bool         // the newest ping is held; Fix and Cell are whole
	Fix    pingline.Fix // of a stored one, only its time and position
	Cell   uint64
	Trip   string

	// Complete is the time, ms, before which what was taken in is stored, or lies
	// on the line between stored pings; the largest int64 if all of it is.
	Complete int64
}

// Known appends to dst what is known of each of a rider's tracks that has pings
// which are not late.
func (f *Filter) Known(dst []NewestKnown, rider string) []NewestKnown {
	f.endLoad()
	if i := f.lookup(f.hash(rider, ""), rider, ""); i != 0 {
		dst = f.appendKnown(dst, i)
	}
	for _, i := range f.devices[rider].tracks {
		dst = f.appendKnown(dst, i)
	}
	return dst
}

func (f *Filter) appendKnown(dst []NewestKnown, i uint32) []NewestKnown {
	t, n := f.tracks.At(i), f.names.At(i)
	_, device := n.split()
	k := NewestKnown{Device: device, Trip: n.trip, Complete: math.MaxInt64}
	since := int64(math.MinInt64) // of the open line
	if t.N > 0 {
		s := t.Last()
		k.Fix = pingline.Fix{At: s.At, LatE7: s.Lat, LonE7: s.Lon}
		since = s.At + 1
	}
	if t.holds {
		k.Held, k.Fix, k.Cell = true, t.fix, t.cell
		k.Complete = since
	} else if t.N == 0 {
		return dst
	}
	if t.backlog != 0 {
		k.Complete = min(k.Complete, f.backlogs.At(t.backlog).unmoved())
	}
	return append(dst, k)
}
