package dedupe

import (
	"hash/maphash"
	"strings"

	"pingline"
	"pingline/dedupe/slab"
)

// hash differs in each process, because clients choose the names and could otherwise
// send names that collide.
func (f *Filter) hash(rider, device string) uint32 {
	h := maphash.String(f.seed, rider)
	if device != "" {
		h = h*0x9e3779b97f4a7c15 ^ maphash.String(f.seed, device)
	}
	return uint32(h >> 32)
}

// lookup returns the track of that name, 0 if it is not known.
func (f *Filter) lookup(hash uint32, rider, device string) uint32 {
	if len(f.index) == 0 {
		return 0
	}
	mask := uint32(len(f.index) - 1)
	for at := hash & mask; ; at = (at + 1) & mask {
		switch slot := f.index[at]; {
		case slot == 0:
			return 0
		case uint32(slot>>32) == hash && f.names.At(uint32(slot)).is(rider, device):
			return uint32(slot)
		}
	}
}

// create returns a new track without vertices; once tells that no ping of the track was
// logged before.
func (f *Filter) create(hash uint32, rider, device string, once bool) uint32 {
	if 4*(f.riders+1) > 3*len(f.index) {
		bigger := slab.NewIndex(max(64, 2*len(f.index)))
		for _, slot := range f.index {
			if slot != 0 {
				bigger.Put(uint32(slot>>32), uint32(slot))
			}
		}
		f.index = bigger
	}
	var i uint32
	if n := len(f.free); n > 0 {
		i = f.free[n-1]
		f.free = f.free[:n-1]
	} else {
		i = f.tracks.Grow()
		f.names.Grow()
		f.order.Grow()
	}
	t := f.tracks.At(i)
	*t = track{hash: hash, used: true, once: once, inWheel: t.inWheel, waiting: t.waiting}
	key := strings.Clone(rider)
	if device != "" {
		key = rider + keySep + device
	}
	*f.names.At(i) = name{key: key}
	f.text += textBytes(key)
	f.addDevice(i, device)
	t.Base = f.forgotOf(rider, device)
	f.index.Put(hash, i)
	f.order.At(i).stamp = 0
	if f.loading == nil {
		f.order.push(f.listOf(i), i)
	}
	f.riders++
	return i
}

// forget drops a track with its state. The pings that it held must have been promoted.
func (f *Filter) forget(i uint32) {
	t := f.tracks.At(i)
	if t.N > 0 {
		f.forgetTo(t.Last().At)
	}
	f.drop(i)
}

// drop is forget for a caller that itself notes up to which time pings are forgotten.
func (f *Filter) drop(i uint32) {
	t := f.tracks.At(i)
	if t.holds {
		f.holding--
	}
	if t.backlog != 0 {
		f.closeBacklog(t)
	}
	f.blocks.Clear(&t.Recent)
	f.blocks.ClearMarks(&t.marks)
	f.index.Remove(t.hash, i)
	if f.loading == nil {
		f.order.unlink(f.listOf(i), i)
	}
	f.dropDevice(i)
	f.carried.Forget(i)
	n := f.names.At(i)
	f.text -= textBytes(n.key) + textBytes(n.trip)
	*n = name{}
	// The idle wheel will find that the track holds nothing.
	*t = track{inWheel: t.inWheel, waiting: t.waiting}
	f.free = append(f.free, i)
	f.riders--
}

// Erase forgets a rider as if no ping of the rider had ever come, and returns how many
// tracks the rider had, and how many pings they held.
func (f *Filter) Erase(rider string) (tracks, held int) {
	tracks, held = f.riders, f.holding
	for _, i := range f.tracksOf(rider) {
		f.drop(i)
	}
	return tracks - f.riders, held - f.holding
}

func (f *Filter) tracksOf(rider string) (list []uint32) {
	if i := f.lookup(f.hash(rider, ""), rider, ""); i != 0 {
		list = append(list, i)
	}
	return append(list, f.devices[rider].tracks...)
}

// victim returns the track to be forgotten next when there are MaxRiders tracks, 0 if
// there is none.
func (f *Filter) victim() uint32 {
	o := &f.order
	if o.once.n >= max(2, f.cfg.MaxRiders/onceShare) || o.often.n == 0 {
		return o.once.oldest
	}
	return o.often.oldest
}

// listOf returns the list that track i is in.
func (f *Filter) listOf(i uint32) *list {
	if f.tracks.At(i).once {
		return &f.order.once
	}
	return &f.order.often
}

// touch notes another ping of track i. While a checkpoint is loaded the tracks are in
// no list.
func (f *Filter) touch(i uint32) {
	o, t := &f.order, f.tracks.At(i)
	o.stamp++
	e := o.At(i)
	second := t.once && e.stamp != 0
	e.stamp = o.stamp
	switch {
	case f.loading != nil:
		t.once = t.once && !second
	case second:
		o.unlink(&o.once, i)
		t.once = false
		o.push(&o.often, i)
	case !t.once && o.often.newest != i:
		o.raise(&o.often, i)
	}
}

// find returns the track of p; if it is not known, 0 and the hash of its name.
func (f *Filter) find(p *pingline.Ping) (i, hash uint32) {
	if a := &f.ahead; a.next < a.n {
		i = a.tracks[a.next]
		a.next++
		if f.names.At(i).is(p.Rider, p.Device) {
			return i, 0
		}
	}
	hash = f.hash(p.Rider, p.Device)
	return f.lookup(hash, p.Rider, p.Device), hash
}
