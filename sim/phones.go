package sim

import (
	"time"

	"pingline"
)

// Phones are the phones of a town. Each from 0 on exists: there is no last one.
// Phone i is one of the pair i/2: its two phones may be one rider's, and one
// connection sends for both. Update and Name are pure functions and safe for
// concurrent use.
type Phones interface {
	// Riders returns how many phones there are to begin with.
	Riders() int
	// Interval is the time between two pings of a phone, at least 1 ms.
	Interval() time.Duration
	// Name returns the rider and device ids of phone i; most have no device id.
	Name(i int) (rider, device string)
	// Update sets all of p but its rider and device to what phone i sends at the
	// time at, ms since 1970, if its ping before was sent at since, and reports
	// whether it has a fix to send: if not, p is not to be used. p.Trip is that of
	// the ping before; a name that stays the same is not made again.
	Update(p *pingline.Ping, i int, since, at int64) bool
}

// Due is a ping to come.
type Due struct {
	Phone int   // in Phones; of a pair that is the connection's (see ConnectionOf)
	At    int64 // ts of the ping, ms since 1970
	Send  int64 // when it shall leave, ns since 1970: then, or later if the phone kept it
}

// Schedule is the pings of one connection, in order of Send, and those of one phone
// in order of At too. It is used by one goroutine.
type Schedule interface {
	// Next returns the next ping; false: there are no more.
	Next() (Due, bool)
}

// NewSchedule returns the schedule of connection conn of conns, for a load that
// starts at start, ns since 1970.
type NewSchedule func(conn, conns int, start int64) Schedule

// ConnectionOf returns which of conns connections sends for phone i, and the
// phone's number among those of that connection.
func ConnectionOf(i, conns int) (conn, slot int) {
	pair := i / 2
	return pair % conns, pair/conns*2 + i&1
}
