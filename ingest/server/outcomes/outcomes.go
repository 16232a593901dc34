// Package outcomes counts the requests of phones by protocol and outcome.
//
// A request that was not let in by its key, or that never came whole, reaches no protocol
// and is not counted here.
package outcomes

import (
	"sync/atomic"

	"pingline/ingest/phone"
)

// The outcomes of a request that reached its protocol. They are labels of metrics.
const (
	Taken    = "taken"    // its pings, or some of them, are stored or needed no storing
	Empty    = "empty"    // it had no ping in it
	Rejected = "rejected" // none was taken or shed: they are invalid, not the sender's, or within a private zone
	Shed     = "shed"     // none was taken, and some were shed
	Refused  = "refused"  // it cannot be read, or is too large, and never will be taken
	Later    = "later"    // it is to come again: 429 or 503
)

// All lists all outcomes.
var All = [...]string{Taken, Empty, Rejected, Shed, Refused, Later}

const (
	taken = iota
	empty
	rejected
	shed
	refused
	later
)

// Requests counts the requests of a protocol. It is safe for concurrent use.
type Requests struct {
	protocol string
	counts   [len(All)]atomic.Uint64
}

// RequestsOf returns a Requests for each protocol, in order.
func RequestsOf(protocols []phone.Protocol) []*Requests {
	all := make([]*Requests, len(protocols))
	for i := range protocols {
		all[i] = &Requests{protocol: protocols[i].Name}
	}
	return all
}

// Later counts a request that is to come again.
func (r *Requests) Later() { r.counts[later].Add(1) }

// Done counts a request that is answered: refused because of err or, if that is nil, with
// an outcome.
func (r *Requests) Done(err error, got *phone.Outcome) { r.counts[of(err, got)].Add(1) }

func of(err error, got *phone.Outcome) int {
	switch {
	case err != nil:
		return refused
	case got.Pings.Received == 0:
		return empty
	case len(got.Judged) > len(got.Over):
		return taken
	case len(got.Shed)+len(got.Over) > 0:
		return shed
	}
	return rejected
}

// Count is how many requests of a protocol had an outcome, since the start of the process.
type Count struct {
	Protocol, Outcome string
	N                 uint64
}

// Counts returns the counts of all.
func Counts(all []*Requests) []Count {
	list := make([]Count, 0, len(all)*len(All))
	for _, r := range all {
		for i, outcome := range All {
			list = append(list, Count{r.protocol, outcome, r.counts[i].Load()})
		}
	}
	return list
}
