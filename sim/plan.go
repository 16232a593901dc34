package sim

import (
	"sync/atomic"
	"time"

	"pingline/sim/fault"
)

// patience is how long a ping waits for its batch to fill.
const patience = time.Second

// plan makes requests of the pings of a schedule. When a request leaves depends on
// the schedule alone, and not on how long the ones before it took.
type plan struct {
	schedule Schedule
	like     bool // each phone sends its own pings; else a request has those of any phones
	faults   *fault.Faults
	offline  *atomic.Uint64 // pings that a phone kept while it was offline
	uploads  uploads

	ahead Due // taken from the schedule and not in a request yet
	has   bool
	done  bool
	open  []Due // of the next request of any phones
}

func (p *plan) peek() (Due, bool) {
	if !p.has && !p.done {
		p.ahead, p.has = p.schedule.Next()
		p.done = !p.has
	}
	return p.ahead, p.has
}

// next appends the pings of the next request to dst, at most n, and returns when it
// shall leave, ns since 1970: when it is full, or when its first ping has waited
// for patience. A phone that was offline sends what it kept in a request of its own.
// It returns no pings if there are no more.
func (p *plan) next(dst []Due, n int) (list []Due, at int64) {
	for {
		d, ok := p.peek()
		if len(p.open) > 0 && (!ok || d.Send > p.open[0].Send+int64(patience)) {
			at = p.open[0].Send + int64(patience)
			return p.batch(dst), at
		}
		if !ok {
			return dst, 0
		}
		p.has = false
		switch {
		case p.faults.Offline(d.Phone, d.At):
			p.offline.Add(1)
			p.uploads.keep(d)
		case p.like || p.uploads.has(d.Phone):
			if kept := p.upload(d, n); kept != nil {
				dst = append(dst, *kept...)
				*kept = (*kept)[:0]
				return dst, d.Send
			}
		default:
			if p.open = append(p.open, d); len(p.open) >= n {
				return p.batch(dst), d.Send
			}
		}
	}
}

// batch moves the pings of any phones to dst.
func (p *plan) batch(dst []Due) []Due {
	dst = append(dst, p.open...)
	p.open = p.open[:0]
	return dst
}

// upload keeps d and returns all that its phone has if it sends them now: as soon as
// it has as many pings as it collects. A phone that has fewer when the schedule ends
// sends none.
func (p *plan) upload(d Due, n int) *[]Due {
	kept, size := p.uploads.keep(d)
	if next, more := p.peek(); more && next.Phone == d.Phone && next.Send == d.Send && len(*kept) < n {
		return nil // it sends more at once
	}
	if p.like && len(*kept) < min(n, size) {
		return nil
	}
	return kept
}

// uploads are the pings that the phones of a connection have collected.
type uploads struct {
	seed   uint64
	conns  int
	phones []upload // by slot
}

// upload is the pings that a phone has collected.
type upload struct {
	kept []Due
	size int // pings with which it sends
	next int // the size after that
}

// has reports whether a phone has collected any.
func (u *uploads) has(phone int) bool {
	_, slot := ConnectionOf(phone, u.conns)
	return slot < len(u.phones) && len(u.phones[slot].kept) > 0
}

// keep adds a ping and returns all of its phone, and with how many it sends.
func (u *uploads) keep(d Due) (kept *[]Due, size int) {
	_, slot := ConnectionOf(d.Phone, u.conns)
	for slot >= len(u.phones) {
		u.phones = append(u.phones, upload{})
	}
	up := &u.phones[slot]
	switch {
	case up.next == 0: // or all would send their first at once
		h := mix(u.seed ^ mix(uint64(d.Phone)+golden))
		up.next = uploadSize(h)
		up.size = 1 + int(h>>32%uint64(up.next))
	case len(up.kept) == 0:
		up.size = up.next
	}
	up.kept = append(up.kept, d)
	return &up.kept, up.size
}

// uploadSize draws how many pings a phone collects before it sends them: half of
// the phones send each by itself, the others 2 to 12.
func uploadSize(h uint64) int {
	if h&1 == 0 {
		return 1
	}
	return 2 + int(h>>1%11)
}
