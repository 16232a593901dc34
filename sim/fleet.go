package sim

import (
	"sync/atomic"
	"time"
)

// fleet is the schedule of phones that take turns, both of a rider's if there are
// two. It asks the phone that was silent longest; when even that one sent less than
// an interval ago, another phone joins, so that no rate makes a phone send more
// often than phones do.
type fleet struct {
	conn  int // of conns: pair conn, conn+conns, … of the phones
	conns int
	most  int // phones it may have
	gap   int64
	last  []int64 // when each phone was last asked for a ping, ms since 1970; 0 if never
	next  int

	walk    walk // of no shape: as many as are asked for
	start   int64
	end     int64  // ns since 1970; no ping from here on; 0: none
	made    uint64 // pings made or skipped
	skipped *atomic.Uint64
}

// newFleet returns the fleet of one of n connections. It counts in skipped pings
// that no phone can send, because each sent less than an interval ago.
func newFleet(p Phones, conn, n, most int, shape Shape, start, end int64, skipped *atomic.Uint64) *fleet {
	interval := p.Interval().Milliseconds()
	f := &fleet{
		conn: conn, conns: n, most: max(1, most/n),
		gap:   max(1, interval-interval/20), // phones are not that exact
		start: start, end: end, walk: walk{shape: shape}, skipped: skipped,
	}
	share := p.Riders()*(conn+1)/n - p.Riders()*conn/n
	f.last = make([]int64, min(max(1, share), f.most))
	return f
}

// index returns the number of the fleet's i-th phone.
func (f *fleet) index(i int) int { return (i/2*f.conns+f.conn)*2 + i&1 }

// Next returns the next ping of the fleet.
func (f *fleet) Next() (Due, bool) {
	if f.walk.shape == nil {
		return f.soonest()
	}
	for {
		// The connections take turns.
		at := f.start + f.walk.due(float64(f.made)*float64(f.conns)+float64(f.conn))
		if f.end != 0 && at >= f.end {
			return Due{}, false
		}
		f.made++
		if i := f.pick(at / 1e6); i >= 0 {
			return f.send(i, at), true
		}
		f.skipped.Add(1)
	}
}

// soonest returns a ping that is due now, or as soon as a phone may send again.
func (f *fleet) soonest() (Due, bool) {
	at := time.Now().UnixNano()
	i := f.pick(at / 1e6)
	if i < 0 {
		i = f.next % len(f.last)
		f.next = i + 1
		at = (f.last[i] + f.gap) * 1e6
	}
	if f.end != 0 && at >= f.end {
		return Due{}, false
	}
	return f.send(i, at), true
}

func (f *fleet) send(i int, at int64) Due {
	f.last[i] = at / 1e6
	return Due{Phone: f.index(i), At: at / 1e6, Send: at}
}

// pick returns the phone to send next, at ms, or -1 if none may send yet.
func (f *fleet) pick(ms int64) int {
	i := f.next % len(f.last)
	switch {
	case f.ready(i, ms):
		f.next = i + 1
		return i
	case len(f.last) < f.most: // its turn comes after those who have been silent for longer
		f.next = i
		f.last = append(f.last, 0)
		return len(f.last) - 1
	}
	return -1
}

func (f *fleet) ready(i int, ms int64) bool {
	last := f.last[i]
	return last == 0 || ms-last >= f.gap
}
