package pingline

import (
	"math"
	"time"
)

// MaxLevel is the highest shed level. Level 0 gives up nothing.
const MaxLevel = 4

// Policy is what asks for a shed level, and what is given up at it so that the rest
// goes on. PolicyAt has the one of each level; no other code knows a level by its
// number.
type Policy struct {
	// Each of these asks for the level; one that is 0 does not.
	Fill   float64       // of the log: bytes ÷ limit
	Full   time.Duration // until the log is full at this rate, once it is half as full as Fill
	Memory float64       // of the memory limit, in use
	Down   time.Duration // in which a shard of pings has taken nothing

	Widen       float64       // times max_error; the accuracy cap stays, it is a property of phones and not of our load
	Resolutions int           // of the roll-up that are written, the coarsest first; the live view has all
	NoSelf      bool          // the node writes no points about itself
	NoReads     bool          // reads that cost much, of tracks and cells, are refused
	Past        time.Duration // age beyond which every ping of a request without events makes it wait; 0: none waits
	StandIn     bool          // others stand in for a shard once it is down for the longest retry
	SetAside    bool          // our own lines become dead letters once their shard is down for that long
	Spacing     time.Duration // behind its track's newest within which a ping without event is shed; 0: none is
	OnlyEvents  bool          // nothing but pings with events is taken
}

// policies are what is given up, by level; each gives up what the one before does.
//
// How soon the log is full counts only once it is half as full as the mark: until then
// nothing is short, and a burst that fills a hundredth of the log in a second would
// otherwise look like the end of it.
var policies = [MaxLevel + 1]Policy{
	0: {Widen: 1, Resolutions: math.MaxInt},
	1: {
		Fill: 0.50, Full: 30 * time.Minute, Down: 30 * time.Second,
		Widen: 2, Resolutions: 1,
	},
	2: {
		Fill: 0.75, Full: 10 * time.Minute,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true,
	},
	3: {
		Fill: 0.90, Full: 2 * time.Minute,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true, Spacing: 30 * time.Second,
	},
	4: {
		Fill: 0.95, Memory: 0.90,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true, Spacing: 30 * time.Second, OnlyEvents: true,
	},
}

// PolicyAt returns the policy of a level from 0 to MaxLevel.
func PolicyAt(level int) Policy { return policies[level] }
