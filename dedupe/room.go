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
	rider, _ := f.names.At(i).split()
	d, ok := f.devices[rider]
	if !ok {
		d.forgot = math.MinInt64
		rider = strings.Clone(rider) // or it would keep the name of a device that may go first
		f.text += textBytes(rider)
	}
	d.tracks = append(d.tracks, i)
	f.devices[rider] = d
	f.mostDevices = max(f.mostDevices, len(f.devices))
}

// dropDevice takes track i out. While a checkpoint is loaded nothing is carried
// over to all tracks: the checkpoint says what was.
func (f *Filter) dropDevice(i uint32) {
	rider, device := f.names.At(i).split()
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

// forgotOf returns what a first vertex of a track must be later than, ms, if our
// clock is as late.
func (f *Filter) forgotOf(rider, device string) int64 {
	if device == "" {
		return f.forgot.counts
	}
	d, ok := f.devices[rider]
	if !ok {
		return f.forgot.counts
	}
	return max(f.forgot.counts, d.forgot)
}

// mayBeForgotten reports whether e may lie before a ping of its track that was
// forgotten.
func (f *Filter) mayBeForgotten(e *pingline.Entry) bool {
	return e.At <= f.past(f.forgotOf(e.Rider, e.Device))
}

// forgetDevice is forget for a track that makes room for another of its rider.
func (f *Filter) forgetDevice(i uint32) {
	rider, _ := f.names.At(i).split()
	d := f.devices[rider]
	if t := f.tracks.At(i); t.N > 0 {
		d.forgot = max(d.forgot, f.met(t.Last().At))
		f.devices[rider] = d
	}
	f.drop(i)
}

// makeRoom returns a track that has to be forgotten before one of that name can
// be known, 0 if there is room; ofRider tells that it makes room for another of
// its own rider.
func (f *Filter) makeRoom(p *pingline.Ping) (i uint32, ofRider bool) {
	if p.Device != "" {
		if d := f.devices[p.Rider]; len(d.tracks) >= MaxDevices {
			return slices.MinFunc(d.tracks, f.bySilence), true
		}
	}
	if f.riders >= f.cfg.MaxRiders {
		return f.victim(), false
	}
	return 0, false
}

func (f *Filter) bySilence(a, b uint32) int {
	return cmp.Compare(f.order.At(a).stamp, f.order.At(b).stamp)
}

// forgetFor is forget or forgetDevice, as makeRoom said.
func (f *Filter) forgetFor(i uint32, ofRider bool) {
	if ofRider {
		f.forgetDevice(i)
	} else {
		f.forget(i)
	}
}

// trimDevices forgets what a rider has too many of, but what holds a ping.
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
