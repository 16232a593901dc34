package dedupe

import (
	"unsafe"

	"pingline"
)

// Bytes returns the approximate memory of the filter, in bytes. It never shrinks: the
// memory of a forgotten track is used again.
func (f *Filter) Bytes() int64 {
	return f.text + f.carried.Bytes() + f.tracks.Bytes() + f.names.Bytes() + f.order.Bytes() +
		f.blocks.Bytes() + f.backlogs.Bytes() +
		8*int64(cap(f.index)) + 4*int64(cap(f.free)+cap(f.noBack)) + int64(f.mostDevices)*deviceBytes
}

// attrBytes is the most memory for attributes of held pings and last values of Keep.
func attrBytes(cfg *Config) int64 { return max(256*int64(cfg.MaxRiders), 1<<20) }

// HeldAttrs returns the most bytes of attributes of held pings that are stored when pings
// are judged. Any of them may displace a track.
func (f *Filter) HeldAttrs(pings []pingline.Ping) (n int) {
	if !f.HasAttrs() {
		return 0
	}
	fresh := 0 // tracks that the pings make
	for k := range pings {
		p := &pings[k]
		if k > 0 && p.Rider == pings[k-1].Rider && p.Device == pings[k-1].Device {
			continue
		}
		i := f.lookup(f.hash(p.Rider, p.Device), p.Rider, p.Device)
		n += f.carried.HeldBytes(i)
		if i == 0 { // it may displace a track of the rider, or one of all
			n += f.carried.MostHeld(f.devices[p.Rider].tracks)
			if fresh++; f.riders+fresh > f.cfg.MaxRiders {
				n += 2 * pingline.MaxAttrs
			}
		}
	}
	return min(n, int(f.carried.Bytes()))
}

// HasAttrs reports whether attributes are known of any track.
func (f *Filter) HasAttrs() bool { return !f.carried.Empty() }

// MaxBytes returns about the most memory that a filter takes, in bytes: MaxRiders
// tracks with the longest names, a backlog for an eighth of them, and RecentBytes. The
// attributes of pings take up to 256 bytes more for each of MaxRiders.
func MaxBytes(cfg Config) int64 {
	const (
		longest = 3*pingline.MaxID + 1 // rider and device, and rider once more
		slot    = 8 * 8 / 3            // an index is at least three eighths full
		freed   = 2 * 4
	)
	track := int64(unsafe.Sizeof(track{})+unsafe.Sizeof(name{})+unsafe.Sizeof(ordered{})) + slot + freed + deviceBytes + longest + pingline.MaxID
	back := int64(unsafe.Sizeof(backlog{})) + pingline.MaxID
	return int64(cfg.MaxRiders)*(track+back/8) + int64(cfg.RecentBytes) + 1<<20
}

// deviceBytes is about the memory of a rider in Filter.devices, with a list of one or
// two tracks, in bytes.
const deviceBytes = 112

// textBytes is the memory of a string that is allocated by itself, in bytes.
func textBytes(s string) int64 {
	const step = 16
	return int64(len(s)+step-1) / step * step
}
