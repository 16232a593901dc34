package dedupe

import (
	"pingline"
	"pingline/dedupe/plane"
)

// Stretch selects the newest part of a rider's tracks: what a store may not have yet.
type Stretch struct {
	Device   string // only this device's; "" means all
	From, To int64  // ms; From <= ts < To
	Vertices int64  // ms: of stored pings only those from then on
	Most     int    // of each track the earliest so many vertices, and what it holds
}

// Line appends to dst what is known of a rider's lines in s: recent vertices, of which
// the filter remembers time and position, and held pings, which are whole. Their
// verdict is Held. Late pings are not among them.
func (f *Filter) Line(dst []pingline.Entry, rider string, s Stretch) []pingline.Entry {
	f.endLoad()
	if i := f.lookup(f.hash(rider, ""), rider, ""); i != 0 && s.Device == "" {
		dst = f.appendLine(dst, i, &s)
	}
	for _, i := range f.devices[rider].tracks {
		if _, device := f.names.At(i).split(); s.Device == "" || s.Device == device {
			dst = f.appendLine(dst, i, &s)
		}
	}
	return dst
}

// appendLine appends the line of track i.
func (f *Filter) appendLine(dst []pingline.Entry, i uint32, s *Stretch) []pingline.Entry {
	t, n := f.tracks.At(i), f.names.At(i)
	e := pingline.Entry{Verdict: pingline.Held}
	e.Rider, e.Device = n.split()
	f.blocks.Between(&t.Recent, max(s.From, s.Vertices), s.To, s.Most, func(v plane.Spot) {
		e.Fix = pingline.Fix{At: v.At, LatE7: v.Lat, LonE7: v.Lon}
		dst = append(dst, e)
	})
	within := func(at int64) bool { return s.From <= at && at < s.To }
	if t.backlog != 0 {
		if b := f.backlogs.At(t.backlog); b.holds && within(b.fix.At) {
			e.Fix, e.Cell, e.Trip = b.fix, b.cell, b.trip
			dst = append(dst, e)
		}
	}
	if t.holds && within(t.fix.At) {
		e.Fix, e.Cell, e.Trip = t.fix, t.cell, n.trip
		dst = append(dst, e)
	}
	return dst
}
