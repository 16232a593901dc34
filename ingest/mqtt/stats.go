package mqtt

import (
	"slices"
	"sync/atomic"
)

// The outcomes of a message. They are labels of metrics.
const (
	Taken   = "taken"   // the server has answered 2xx, and it is acknowledged
	Ignored = "ignored" // its topic is none of Names; acknowledged
	Foreign = "foreign" // its sender may not send for its rider; acknowledged
	Again   = "again"   // it was not taken and not acknowledged, and is to come again
	Lost    = "lost"    // it was not taken, and is of QoS 0
)

// Outcomes lists all outcomes.
var Outcomes = [...]string{Taken, Ignored, Foreign, Again, Lost}

// Stats are the counts of both ways since the start of the process.
type Stats struct {
	Broker     *BrokerStats     // nil: the node is no broker
	Subscriber *SubscriberStats // nil: the node subscribes nowhere
}

// BrokerStats are the counts of the node's own broker.
type BrokerStats struct {
	Open      int64  // connections open now
	Displaced uint64 // connections closed while they waited for their client, to make a place for another
	Messages  map[string]uint64
}

// SubscriberStats are the counts of the subscription at a broker of others.
type SubscriberStats struct {
	Connected bool // the subscription stands
	Messages  map[string]uint64
}

// Counter counts messages by outcome. It is safe for concurrent use.
type Counter struct{ by [len(Outcomes)]atomic.Uint64 }

// Add counts a message.
func (t *Counter) Add(outcome string) { t.by[slices.Index(Outcomes[:], outcome)].Add(1) }

// Messages returns the counts so far.
func (t *Counter) Messages() map[string]uint64 {
	by := make(map[string]uint64, len(Outcomes))
	for i, outcome := range Outcomes {
		by[outcome] = t.by[i].Load()
	}
	return by
}
