package dedupe

import (
	"strings"

	"pingline"
	"pingline/dedupe/plane"
)

// Newest is the newest ping of a track, as far as the filter knows it; late pings do not
// count.
type Newest struct {
	Track uint32       // number of the track; the number of a forgotten track is used again
	Name  string       // of the track: see RiderDevice
	Fix   pingline.Fix // of a ping stored before a restart only time and position
}

// RiderDevice returns the rider and the device of a track's name.
func RiderDevice(name string) (rider, device string) {
	rider, device, _ = strings.Cut(name, keySep)
	return rider, device
}

// Stamp returns the number of pings logged so far, which marks a moment for Newest.
func (f *Filter) Stamp() uint64 { return f.order.stamp }

// Newest appends to dst the newest pings of the tracks behind number track that had a
// ping logged after a stamp, in order of their numbers. It looks at a limited number of
// tracks and appends up to most pings. It returns the number of the last track that it
// looked at, 0 if that is the last of all. Tracks that nobody pinged since cost it 16
// bytes of memory in a row.
func (f *Filter) Newest(dst []Newest, track uint32, since uint64, most int) ([]Newest, uint32) {
	f.endLoad()
	most += len(dst)
	end := min(track+newestLook, f.tracks.Last)
	for track < end && len(dst) < most {
		if track++; f.order.At(track).stamp <= since {
			continue
		}
		t := f.tracks.At(track)
		if !t.used || !t.holds && t.N == 0 {
			continue
		}
		n := Newest{Track: track, Name: f.names.At(track).key, Fix: t.fix}
		if !t.holds && plane.SpotOf(&t.fix) != t.Last() {
			s := t.Last()
			n.Fix = pingline.Fix{At: s.At, LatE7: s.Lat, LonE7: s.Lon}
		}
		dst = append(dst, n)
	}
	if track == f.tracks.Last {
		track = 0
	}
	return dst, track
}

// newestLook is the most tracks that a call of Newest looks at.
const newestLook = 1 << 16
