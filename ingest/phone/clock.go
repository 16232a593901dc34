package phone

import (
	"cmp"
	"slices"

	"pingline"
)

// Correction is the new time of a ping whose own time was out of its limits.
type Correction struct {
	Index int   `json:"index"` // position of the ping in the request
	TS    int64 `json:"ts"`    // new time, ms since 1970
}

// Correct gives a new time to each ping whose time is out of its limits, if
// Limits.Correct lets such pings in:
//
//   - A time that is off by whole rollovers of the GPS week is put right, and the ping
//     is not marked.
//   - Otherwise the clock is wrong by an unknown amount. The pings of a track keep their
//     distances in time: behind returns the ms to add, for a track and its newest wrong
//     time. A ping that is out of its limits even then gets the time of receipt. In each
//     case the ping is marked Corrected.
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
		p.corrected = append(p.corrected, p.Index[i])
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
	p.Taken(nil)
}

// Taken is told the verdicts of List, the first of its pings: Corrected and Correction
// are then of those pings that were neither shed nor left without one. Pings that have left List were shed before.
func (p *Pings) Taken(judged []pingline.Verdict) {
	p.Corrected, p.Correction = 0, p.Correction[:0]
	if len(p.corrected) == 0 {
		return
	}
	left := p.corrected
	for i, at := range p.Index {
		for len(left) > 0 && left[0] < at {
			left = left[1:]
		}
		if len(left) == 0 {
			return
		}
		if left[0] != at || i < len(judged) && (judged[i] == pingline.Shed || judged[i] == 0) {
			continue
		}
		if p.Corrected++; len(p.Correction) < MaxRejections {
			p.Correction = append(p.Correction, Correction{int(at), p.List[i].At})
		}
	}
}
