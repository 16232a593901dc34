package sim

import (
	"time"

	"pingline"
)

// maxBehind is how far a fleet of a set rate may lag behind the clock before
// it gives up what it owes.
const maxBehind = time.Minute

// fleet is the phones whose pings one connection sends, both of a rider's if
// there are two. It asks the phone that was silent longest; when even that one
// sent less than an interval ago, another phone joins, so that no rate makes a
// phone send more often than phones do.
type fleet struct {
	city   *City
	conn   int // of conns: pair conn, conn+conns, … of the city's phones
	conns  int
	most   int // phones it may have
	gap    int64
	phones []phone
	next   int

	rate    float64 // pings/s; 0 means as many as are asked for
	start   time.Time
	made    uint64 // pings made or skipped
	skipped uint64 // pings owed and never made
}

// phone is what a fleet remembers of a phone.
type phone struct {
	rider, device string
	last          int64 // ts of its newest ping; 0 if none
}

// newFleet returns the fleet of one of n connections.
func newFleet(c *City, conn, n, most int, rate float64, start time.Time) *fleet {
	interval := c.Interval().Milliseconds()
	f := &fleet{
		city: c, conn: conn, conns: n, most: max(1, most/n),
		gap:  max(1, interval-interval/20), // phones are not that exact
		rate: rate / float64(n), start: start,
	}
	if rate > 0 { // the connections take turns
		f.start = start.Add(time.Duration(float64(conn) / rate * 1e9))
	}
	share := c.Riders()*(conn+1)/n - c.Riders()*conn/n
	for range min(max(1, share), f.most) {
		f.add()
	}
	return f
}

// index returns the city's number of the fleet's i-th phone.
func (f *fleet) index(i int) int { return (i/2*f.conns+f.conn)*2 + i&1 }

func (f *fleet) add() {
	rider, device := f.city.Name(f.index(len(f.phones)))
	f.phones = append(f.phones, phone{rider: rider, device: device})
}

// due returns when the n-th ping from now on is to be made.
func (f *fleet) due(n int) time.Time {
	return f.start.Add(time.Duration(float64(f.made+uint64(n)) / f.rate * 1e9))
}

// wait returns how long it takes until n pings are due, or one has been due
// for patience.
func (f *fleet) wait(now time.Time, n int, patience time.Duration) time.Duration {
	if f.rate > 0 {
		full := f.due(n - 1).Sub(now)
		return min(full, f.due(0).Add(patience).Sub(now))
	}
	if len(f.phones) < f.most {
		return 0
	}
	silent := now.UnixMilli() - f.phones[f.next%len(f.phones)].last
	return time.Duration(f.gap-silent) * time.Millisecond
}

// collect appends up to n pings that are due to dst. A ping that is made late
// has the time at which it was due.
func (f *fleet) collect(dst []pingline.Ping, now time.Time, n int) []pingline.Ping {
	at := now
	if f.rate > 0 {
		f.catchUp(now)
	}
	for len(dst) < n {
		if f.rate > 0 {
			if at = f.due(0); at.After(now) {
				break
			}
		}
		ms := at.UnixMilli()
		i := f.pick(ms)
		if i < 0 && f.rate == 0 {
			break
		}
		f.made++
		if i < 0 {
			f.skipped++
			continue
		}
		ph := &f.phones[i]
		if ph.last == 0 {
			ph.last = ms - f.gap
		}
		dst = append(dst, pingline.Ping{Rider: ph.rider, Device: ph.device})
		f.city.Update(&dst[len(dst)-1], f.index(i), ph.last, ms)
		ph.last = ms
	}
	return dst
}

// catchUp skips what has been due for too long.
func (f *fleet) catchUp(now time.Time) {
	if late := now.Sub(f.due(0)) - maxBehind; late > 0 {
		n := uint64(late.Seconds() * f.rate)
		f.made += n
		f.skipped += n
	}
}

// pick returns the index of the phone to send next, at ms, or -1 if none may
// send yet.
func (f *fleet) pick(ms int64) int {
	i := f.next
	if i == len(f.phones) {
		if i = 0; !f.ready(0, ms) && len(f.phones) < f.most {
			f.add()
			i = len(f.phones) - 1
		}
	}
	if !f.ready(i, ms) {
		return -1
	}
	f.next = i + 1
	return i
}

func (f *fleet) ready(i int, ms int64) bool {
	last := f.phones[i].last
	return last == 0 || ms-last >= f.gap
}
