package sink

import (
	"time"

	"pingline/internal/unit"
	"pingline/sink/health"
	"pingline/sink/limit"
	"pingline/sink/route"
)

// Breaker states, as Stats has them.
const (
	Closed   = limit.Closed
	HalfOpen = limit.HalfOpen
	Open     = limit.Open
)

// Account counts the pings in the log by their fate, and our own lines. It is the
// sum of all lanes: each entry is counted once, as its lane passes it.
type Account struct {
	Pings, Lines Tally
}

// Tally is one of these equations. Every entry the log ever held is in one place:
//
//	total of the log = Start + Written + DeadLettered + Damaged + Queued
//
// Queued follows from the others while lanes are on their way. Once all of them
// have come to the end of the log nothing waits, and it is 0 whatever they have
// counted: then the equation shows whether an entry was missed, or taken by two.
type Tally struct {
	Start        uint64 // passed at New, and lying before all cursors
	Written      uint64 // taken by the stores
	DeadLettered uint64 // refused and put aside
	Damaged      uint64 // lost by the log
	Queued       uint64 // not passed yet
}

// Stops are all that Stats.Stopped can be.
var Stops = health.Stops

// Stats says how one shard does, since New.
type Stats struct {
	Shard       string
	Pings       bool              // pings are spread over it, or a route leads some to it; else it gets our own lines only
	Written     uint64            // pings it has taken, those of shards it stands in for among them
	Lines       uint64            // our own lines it has taken, likewise
	DeadLetters map[string]uint64 // rows that it refused, of any shard's lanes, or that were set aside, by reason
	Unkept      uint64            // of those, rows beyond its retention that were counted, and not kept
	Queued      uint64            // entries that its lanes have not passed: the sum of theirs
	Lanes       []LaneStats

	Oldest      time.Duration // how long the oldest commit not passed has waited; 0 if none is known
	Retries     uint64        // attempts that have to be made again
	Breaker     int           // Closed, HalfOpen or Open
	BreakerOpen time.Duration // how long it has not been closed; 0 if it is
	Down        time.Duration // how long it has not stored the writes it was given; 0 if it does
	HandedOver  bool          // others stand in for it
	InFlight    int           // writes under way
	Limit       int           // how many there may be
	LastError   string        // why the last attempt failed, or a lane stands still; "" if neither is so
	Stopped     string        // the trouble that an operator must put right, one of Stops; "" if nothing
}

// LaneStats says how far a lane is; backfill includes holes.
type LaneStats struct {
	Lane string // critical, live, backfill or own
	// Queued is how many entries it has not passed. Of those not read yet it is an
	// estimate, by the lane's part of those read; over all lanes the sum is exact.
	Queued uint64
	Oldest time.Duration // how long the oldest commit it has not passed has waited; 0 if none is known
	Behind uint64        // how many commits that are
}

// waits says in words what waits for a shard: pings, or lines of our own.
func (s *Stats) waits() string {
	var pings, own uint64
	for i := range s.Lanes {
		if l := &s.Lanes[i]; l.Lane == route.Own.String() {
			own += l.Queued
		} else {
			pings += l.Queued
		}
	}
	lines := unit.Plural(own, "line of our own", "lines of our own")
	switch {
	case own == 0:
		return unit.Plural(pings, "ping waits", "pings wait")
	case pings == 0:
		return "no ping waits, but " + lines
	}
	return unit.Plural(pings, "ping waits", "pings wait") + ", and " + lines
}

// DeadLettered returns the number of dead letters for all reasons.
func (s *Stats) DeadLettered() (n uint64) {
	for _, c := range s.DeadLetters {
		n += c
	}
	return n
}
