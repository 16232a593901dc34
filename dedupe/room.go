package dedupe

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"pingline"
)

// addDevice notes that track i is one of a rider's devices.
func (f *Filter) addDevice(i uint32, device string) {
	if device == "" {
		return
	}
	if f.devices == nil {
		f.devices = make(map[string]devices)
	}
	rider, _ := RiderDevice(f.names.At(i).key)
	d, ok := f.devices[rider]
	if !ok {
		d.forgot = math.MinInt64
		rider = strings.Clone(rider) // a substring would keep the memory of a device's name that may go first
		f.text += textBytes(rider)
	}
	d.tracks = append(d.tracks, i)
	f.devices[rider] = d
	f.mostDevices = max(f.mostDevices, len(f.devices))
}

// dropDevice takes track i out of its rider's devices. With the last of them, forgot
// is carried over to all tracks, except while a checkpoint is loaded, which has it.
func (f *Filter) dropDevice(i uint32) {
	rider, device := RiderDevice(f.names.At(i).key)
	if device == "" {
		return
	}
	d := f.devices[rider]
	d.tracks = slices.DeleteFunc(d.tracks, func(k uint32) bool { return k == i })
	if len(d.tracks) > 0 {
		f.devices[rider] = d
		return
	}
	delete(f.devices, rider)
	f.text -= textBytes(rider)
	if f.loading == nil {
		f.forgetTo(d.forgot)
	}
}

// forgotOf returns the time, ms, behind which the first vertex of a track must lie, if
// our clock is as late.
func (f *Filter) forgotOf(rider, device string) int64 {
	if d, ok := f.devices[rider]; ok && device != "" {
		return max(f.forgot.Counts, d.forgot)
	}
	return f.forgot.Counts
}

// mayBeForgotten reports whether e may lie before a ping of its track that was
// forgotten.
func (f *Filter) mayBeForgotten(e *pingline.Entry) bool {
	return e.At <= f.past(f.forgotOf(e.Rider, e.Device))
}

// makeRoom returns the track that has to be forgotten before p's track can be known,
// 0 if there is room; ofRider tells that both tracks are of the same rider.
func (f *Filter) makeRoom(p *pingline.Ping) (i uint32, ofRider bool) {
	if d := f.devices[p.Rider]; p.Device != "" && len(d.tracks) >= MaxDevices {
		return slices.MinFunc(d.tracks, f.bySilence), true
	}
	if f.riders >= f.cfg.MaxRiders {
		return f.victim(), false
	}
	return 0, false
}

func (f *Filter) bySilence(a, b uint32) int {
	return cmp.Compare(f.order.At(a).stamp, f.order.At(b).stamp)
}

// forgetFor forgets the track of makeRoom; one of the same rider makes no other rider late.
func (f *Filter) forgetFor(i uint32, ofRider bool) {
	if !ofRider {
		f.forget(i)
		return
	}
	rider, _ := RiderDevice(f.names.At(i).key)
	d := f.devices[rider]
	if t := f.tracks.At(i); t.N > 0 {
		d.forgot = max(d.forgot, f.met(t.Last().At))
		f.devices[rider] = d
	}
	f.drop(i)
}

// trimDevices forgets the tracks of each rider beyond MaxDevices, but no track that
// holds a ping.
func (f *Filter) trimDevices() {
	for rider, d := range f.devices {
		extra := len(d.tracks) - MaxDevices
		if extra <= 0 {
			continue
		}
		slices.SortFunc(d.tracks, f.bySilence)
		var gone []uint32
		d.tracks = slices.DeleteFunc(d.tracks, func(i uint32) bool {
			if len(gone) == extra || f.holds(i) {
				return false
			}
			if t := f.tracks.At(i); t.N > 0 {
				d.forgot = max(d.forgot, f.met(t.Last().At))
			}
			gone = append(gone, i)
			return true
		})
		f.devices[rider] = d
		for _, i := range gone {
			f.drop(i)
		}
	}
}
