package sink

import (
	"errors"
	"slices"

	"pingline/sink/deadletter"
	"pingline/sink/store"
)

// Reasons of a lane to be halted that are the sink's own, not a store's.
const (
	haltRefusals = "too many refused"        // rows, for their content
	haltFull     = "dead letters full"       // no room for another one
	haltDisk     = "dead letters unwritable" // for any other cause
)

// Stops are all that Stats.Stopped can be.
var Stops = slices.Concat(store.Stops, []string{haltRefusals, haltFull, haltDisk})

// haltReason returns why a lane is halted, one of Stops, and advice on it.
func haltReason(err error) (reason, advice string) {
	switch {
	case errors.Is(err, errTooManyRefused):
		return haltRefusals, "put right what they are refused for, or let them become dead letters with pingline deadletter accept"
	case errors.Is(err, deadletter.ErrFull):
		return haltFull, "have them stored with pingline deadletter replay, move files away, or raise --deadletter-max-bytes"
	}
	return haltDisk, "give the disk of --data-dir room, or make it writable"
}

// advised returns an advice as the end of a sentence on a trouble.
func advised(advice string) string {
	if advice == "" {
		return ""
	}
	return "; " + advice
}
