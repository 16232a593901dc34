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
// sum of all lanes: each entry is counted once, when its lane passes it.
type Account struct {
	Pings, Lines Tally
}

// Tally is the equation of pings or of our own lines. Every entry that the log
// ever held is in one place:
//
//	total of the log = Start + Written + DeadLettered + Damaged + Elsewhere + GivenUp + Queued
//
// Queued is computed from the rest while lanes are on their way. Once all lanes
// are at the end of the log nothing waits, and Queued is 0 whatever they have
// counted: then the equation shows whether an entry was missed or counted twice.
type Tally struct {
	Start        uint64 // passed before New, before all cursors
	Written      uint64 // taken by the stores
	DeadLettered uint64 // refused and put aside
	Damaged      uint64 // lost by the log
	Elsewhere    uint64 // for other sets of shards
	GivenUp      uint64 // not written, because the log was filling up
	Queued       uint64 // not passed yet
}

// Stops are all values of Stats.Stopped.
var Stops = health.Stops

// Stats counts the writes of a shard since New, and tells its state.
type Stats struct {
	Shard       string
	Gone        bool              // nothing is written to it any more: its counts alone are left
	Pings       bool              // pings are spread over it, or a route leads some to it; else it gets our own lines only
	Written     uint64            // pings it has taken, with the pings of shards it stands in for
	Lines       uint64            // our own lines it has taken, likewise
	DeadLetters map[string]uint64 // rows that it refused, of any shard's lanes, or that were set aside, by reason
	Unkept      uint64            // rows beyond its retention that were counted, and not kept as dead letters
	Bare        uint64            // pings written without some of their attributes, which its store does not keep
	Lost        uint64            // of Bare, as the store counts since it was opened, whoever wrote
	Queued      uint64            // entries that its lanes have not passed, summed over Lanes
	Lanes       []LaneStats

	Oldest      time.Duration // how long the oldest commit not passed has waited; 0 if none is known
	Retries     uint64        // attempts that failed and have to be made again
	Breaker     int           // Closed, HalfOpen or Open
	BreakerOpen time.Duration // how long it has not been closed; 0 if it is
	Down        time.Duration // how long it has not stored the writes it was given; 0 if it does
	HandedOver  bool          // other shards stand in for it
	InFlight    int           // writes under way
	Limit       int           // most writes under way at once
	LastError   string        // why the last attempt failed, or a lane stands still; "" if neither is so
	Stopped     string        // trouble that an operator must put right, an element of Stops; "" if there is none
}

// LaneStats says how far a lane is; backfill includes holes.
type LaneStats struct {
	Lane string // critical, live, backfill or own
	// Queued is how many entries the lane has not passed. The part that is not
	// read yet is estimated from the lane's part of the entries read; over all
	// lanes the sum is exact.
	Queued uint64
	Oldest time.Duration // how long the oldest commit it has not passed has waited; 0 if none is known
	Behind uint64        // how many commits it has not passed
}

// waits says in words how many pings and lines of our own wait for a shard.
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
