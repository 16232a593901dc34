package pingline

import (
	"fmt"
	"math"
	"time"
)

// MaxLevel is the highest shed level. At level 0 the node gives up nothing.
const MaxLevel = 4

// Policy holds the marks that ask for a shed level, and the work given up at it so
// that the rest goes on. PolicyAt returns the policy of a level; no other code knows a
// level by its number.
type Policy struct {
	Name string // of the level, in a few words

	// The first four fields are marks: each asks for the level, unless it is 0.
	Fill   float64       // of the log: bytes ÷ limit
	Full   time.Duration // until the log is full at this rate, once it is half as full as Fill
	Memory float64       // of the memory limit, in use
	Down   time.Duration // in which a shard of pings has taken nothing

	Widen       float64       // times max_error; the accuracy cap stays, it is a property of phones and not of our load
	Resolutions int           // number of resolutions of the roll-up that are written, the coarsest first; the live view has all
	NoSelf      bool          // the node writes no points about itself
	NoReads     bool          // reads that cost much, of tracks and cells, are refused
	Past        time.Duration // age beyond which every ping of a request without events makes it wait; 0: none waits
	StandIn     bool          // shards that are up stand in for a shard once it is down for the longest retry
	SetAside    bool          // the node's own rows become dead letters once their shard is down for the longest retry
	Spacing     time.Duration // least time between a ping without event and its track's newest: a closer ping is shed; 0: none is
	OnlyEvents  bool          // every ping without event is shed
}

// policies is the policy of each level; a level gives up all that the level below does.
//
// Full counts only once the log is half as full as Fill: a burst that fills a hundredth
// of a nearly empty log in a second would otherwise look like a log about to be full.
var policies = [MaxLevel + 1]Policy{
	0: {Name: "normal", Widen: 1, Resolutions: math.MaxInt},
	1: {
		Name: "coarser tracks",
		Fill: 0.50, Full: 30 * time.Minute, Down: 30 * time.Second,
		Widen: 2, Resolutions: 1,
	},
	2: {
		Name: "no reads",
		Fill: 0.75, Full: 10 * time.Minute,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true,
	},
	3: {
		Name: "close pings shed",
		Fill: 0.90, Full: 2 * time.Minute,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true, Spacing: 30 * time.Second,
	},
	4: {
		Name: "events only",
		Fill: 0.95, Memory: 0.90,
		Widen: 4, NoSelf: true, NoReads: true, Past: 5 * time.Minute, StandIn: true, SetAside: true, Spacing: 30 * time.Second, OnlyEvents: true,
	},
}

// PolicyAt returns the policy of a level from 0 to MaxLevel.
func PolicyAt(level int) Policy { return policies[level] }

// GivingUp returns a sentence for each thing that is given up, none at level 0. GET
// /v1/status and docs/failure-modes.md have the same sentences.
func (p Policy) GivingUp() []string {
	list := []string{}
	add := func(given bool, format string, args ...any) {
		if given {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	add(p.Widen > 1, "Tracks are coarser: max_error is %g times as large, so fewer pings are stored.", p.Widen)
	switch p.Resolutions {
	case 0:
		add(true, "The roll-up writes nothing.")
	case 1:
		add(true, "The roll-up writes its coarsest cells only.")
	default:
		add(p.Resolutions < math.MaxInt, "The roll-up writes its %d coarsest resolutions only.", p.Resolutions)
	}
	add(p.NoSelf, "The node writes no points about itself.")
	add(p.NoReads, "Tracks and cells are not read: whoever asks for them gets 503.")
	add(p.StandIn, "Others stand in for a shard that has been down for 10 s.")
	add(p.SetAside, "The node's own lines for a routed shard that is down become dead letters.")
	add(p.Past > 0, "A request without events waits (503) if all its pings are older than %s.", spoken(p.Past))
	add(p.Spacing > 0, "A ping without event is shed if it is behind its track's newest by less than %s.", spoken(p.Spacing))
	add(p.OnlyEvents, "A request without events gets 503; of the others only pings with events are stored.")
	return list
}

// spoken writes a time in whole seconds or minutes.
func spoken(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}
