package node

import (
	"pingline/ingest"
	"pingline/rollup"
	"pingline/sink"
)

// signals are the state of the log and its readers, from which the level
// follows.
func (n *Node) signals() ingest.Signals {
	var sig ingest.Signals
	for name, at := range n.log.Kept() {
		if name != ingest.FilterCursor && name != rollup.Cursor { // they hold back records that they have read
			sig.Waiting = max(sig.Waiting, n.log.BytesSince(at.Next))
		}
	}
	if n.rollup != nil {
		sig.Waiting = max(sig.Waiting, n.rollup.Unread())
	}
	// Of another set only the log that it keeps from being trimmed is a reason to give up
	// anything.
	for _, st := range n.sink.Primary() {
		if !st.Pings {
			continue
		}
		sig.Shards++
		// A refusal is an answer, and leaves the breaker closed, although nothing is
		// stored.
		sig.Open = sig.Open || st.Breaker != sink.Closed || st.Down > 0
	}
	a := n.sink.Account()
	sig.Written = a.Pings.Written + a.Pings.DeadLettered
	return sig
}
