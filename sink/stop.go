package sink

import (
	"errors"
	"slices"

	"pingline/sink/deadletter"
	"pingline/sink/store"
)

// Reasons why a lane stands still that are the sink's own, not a store's.
const (
	stopRefusals = "too many refused"        // rows, for their content
	stopFull     = "dead letters full"       // no room for another one
	stopDisk     = "dead letters unwritable" // for any other cause
)

// Stops are all that Stats.Stopped can be.
var Stops = slices.Concat(store.Stops, []string{stopRefusals, stopFull, stopDisk})

// stop tells in few words why a lane stands still, and what to do about it.
func stop(err error) (reason, advice string) {
	switch {
	case errors.Is(err, errTooManyRefused):
		return stopRefusals, "put right what they are refused for, or let them become dead letters with pingline deadletter accept"
	case errors.Is(err, deadletter.ErrFull):
		return stopFull, "have them stored with pingline deadletter replay, move files away, or raise --deadletter-max-bytes"
	}
	return stopDisk, "give the disk of --data-dir room, or make it writable"
}

// advised is how an advice stands behind a trouble.
func advised(advice string) string {
	if advice == "" {
		return ""
	}
	return "; " + advice
}
