package main

import (
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"runtime/debug"

	"pingline/ingest"
	"pingline/ingest/server"
	"pingline/rollup"
	"pingline/sink"
)

// signals are what the readers of the log say about how it goes.
func (s *service) signals() ingest.Signals {
	var sig ingest.Signals
	for name, at := range s.log.Kept() {
		if name != ingest.FilterCursor && name != rollup.Cursor { // they hold back what they have read
			sig.Waiting = max(sig.Waiting, s.log.BytesSince(at.Next))
		}
	}
	if s.rollup != nil {
		sig.Waiting = max(sig.Waiting, s.rollup.Unread())
	}
	for _, st := range s.sink.Stats() {
		sig.Shards++
		// A refusal is an answer, and leaves the breaker closed; but nothing is taken.
		sig.Open = sig.Open || st.Breaker != sink.Closed || st.Down > 0
	}
	a := s.sink.Account()
	sig.Written = a.Pings.Written + a.Pings.DeadLettered
	return sig
}

// network is addresses, written 10.0.0.0/8, or one address.
type network netip.Prefix

func (n *network) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	if err != nil {
		addr, err := netip.ParseAddr(string(text))
		if err != nil {
			return fmt.Errorf("%q is neither an address nor a network such as 10.0.0.0/8", text)
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	*n = network(p.Masked())
	return nil
}

func (n network) String() string { return netip.Prefix(n).String() }

func prefixes(list []network) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, n := range list {
		out[i] = netip.Prefix(n)
	}
	return out
}

// spareFiles are for all but connections of clients: the log, its readers, the
// stores.
const spareFiles = 200

// limitConnections keeps connections to the files that may be open, and to what an
// eighth of the memory limit can hold.
func limitConnections(asked int, logger *slog.Logger) int {
	most := int64(asked)
	limit := func(to int64, by string) {
		if to = max(1, to); to < most {
			logger.Warn("connections are limited by "+by, "connections", to, "configured", asked)
			most = to
		}
	}
	if files := maxFiles(); files > 0 && files <= math.MaxInt64 {
		limit(int64(files)-spareFiles, "the number of files that may be open (ulimit -n)")
	}
	limit(debug.SetMemoryLimit(-1)/8/server.ConnectionBytes, "an eighth of the memory limit")
	return int(most)
}
