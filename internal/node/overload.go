package node

import (
	"log/slog"
	"math"
	"runtime/debug"

	"pingline/ingest"
	"pingline/ingest/server"
	"pingline/internal/room"
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
	for _, st := range n.sink.Stats()[:len(n.layout.read.Shards)] {
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

// limitConnections limits the connections of each of some listeners by the files that may
// be open, and by the memory for them, an eighth of the memory limit.
func limitConnections(asked, listeners int, secure bool, logger *slog.Logger) int {
	most := int64(asked)
	limit := func(to int64, by string) {
		if to = max(1, to/int64(listeners)); to < most {
			logger.Warn("connections are limited by "+by, "connections", to, "configured", asked)
			most = to
		}
	}
	if files := room.MaxFiles(); files > 0 && files <= math.MaxInt64 {
		limit(int64(files)-room.SpareFiles, "the number of files that may be open (ulimit -n)")
	}
	each := int64(server.ConnectionBytes)
	if secure {
		each += server.TLSBytes
	}
	limit(debug.SetMemoryLimit(-1)/8/each, "an eighth of the memory limit")
	return int(most)
}

// LimitMemory keeps the process within its memory, and returns the limit as text.
func LimitMemory() string { return room.LimitMemory() }
