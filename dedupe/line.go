package dedupe

import (
	"pingline"
	"pingline/dedupe/plane"
)

// Stretch selects the newest part of a rider's tracks, which a store may not have yet.
type Stretch struct {
	Device   string // only this device's; "" means all
	From, To int64  // ms; From <= ts < To
	Vertices int64  // ms: stored pings before this time are left out
	Most     int    // most vertices of each track, the earliest; held pings come on top
}

// Line appends to dst the known part of a rider's lines in s: recent vertices with time
// and position only, and held pings in full. The verdict of each entry is Held. Late
// pings are left out.
func (f *Filter) Line(dst []pingline.Entry, rider string, s Stretch) []pingline.Entry {
	f.endLoad()
	for _, i := range f.tracksOf(rider) {
		if _, device := RiderDevice(f.names.At(i).key); s.Device == "" || s.Device == device {
			dst = f.appendLine(dst, i, &s)
		}
	}
	return dst
}

// appendLine appends the line of track i.
func (f *Filter) appendLine(dst []pingline.Entry, i uint32, s *Stretch) []pingline.Entry {
	t, n := f.tracks.At(i), f.names.At(i)
	e := pingline.Entry{Verdict: pingline.Held}
	e.Rider, e.Device = RiderDevice(n.key)
	f.blocks.Between(&t.Recent, max(s.From, s.Vertices), s.To, s.Most, func(v plane.Spot) {
		e.Fix = pingline.Fix{At: v.At, LatE7: v.Lat, LonE7: v.Lon}
		dst = append(dst, e)
	})
	within := func(at int64) bool { return s.From <= at && at < s.To }
	if t.backlog != 0 {
		if b := f.backlogs.At(t.backlog); b.holds && within(b.fix.At) {
			e.Fix, e.Cell, e.Trip, e.Attrs = b.fix, b.cell, b.trip, f.carried.Held(i, true)
			dst = append(dst, e)
		}
	}
	if t.holds && within(t.fix.At) {
		e.Fix, e.Cell, e.Trip, e.Attrs = t.fix, t.cell, n.trip, f.carried.Held(i, false)
		dst = append(dst, e)
	}
	return dst
}
