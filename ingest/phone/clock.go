package phone

import (
	"cmp"
	"slices"
)

// Correction says at which time a ping is kept that said one out of its limits.
type Correction struct {
	Index int   `json:"index"` // its position in the request
	TS    int64 `json:"ts"`    // ms since 1970
}

// Correct gives the pings whose time is out of its limits another, if Limits.Correct
// lets them in:
//
//   - A time that is off by whole rollovers of the GPS week is put right, and the ping
//     is as any other.
//   - Otherwise the clock is wrong by an amount that is not known. Pings of one track
//     keep their distances: behind returns how many ms to add, of a track and its newest
//     such time. A ping that is out of its limits even then is at the time of receipt.
//     All these are marked Corrected.
func (p *Pings) Correct(behind func(rider, device string, newest int64) (add int64)) {
	if p.wrong == 0 {
		return
	}
	p.wrong = 0
	for i := range p.List {
		ping := &p.List[i]
		if !ping.Corrected {
			continue
		}
		if p.Corrected++; len(p.Correction) < MaxRejections {
			p.Correction = append(p.Correction, Correction{Index: i})
		}
		times := p.limits.times(ping.Event != "")
		if ms, ok := times.Unroll(ping.At, p.now); ok {
			ping.At, ping.Corrected = ms, false
			continue
		}
		p.byTrack = append(p.byTrack, int32(i))
	}
	slices.SortStableFunc(p.byTrack, func(a, b int32) int {
		x, y := &p.List[a], &p.List[b]
		return cmp.Or(cmp.Compare(x.Rider, y.Rider), cmp.Compare(x.Device, y.Device), cmp.Compare(y.At, x.At))
	})
	var rider, device string
	var add int64
	for _, i := range p.byTrack {
		ping := &p.List[i]
		if ping.Rider != rider || ping.Device != device {
			rider, device = ping.Rider, ping.Device
			add = behind(rider, device, ping.At)
		}
		if ping.At += add; p.limits.times(ping.Event != "").Check(ping.At, p.now) != nil {
			ping.At = p.now.UnixMilli()
		}
	}
	for i := range p.Correction {
		at := p.Correction[i].Index
		p.Correction[i] = Correction{int(p.Index[at]), p.List[at].At}
	}
}
