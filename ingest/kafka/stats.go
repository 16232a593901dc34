package kafka

import (
	"slices"
	"sync/atomic"
)

// The outcomes of a message. They are labels of metrics.
const (
	Taken   = "taken"   // all of its pings are durable, or need no storing
	Refused = "refused" // it cannot be read, or has a ping that is not valid: it is in the file of refused messages
	Ignored = "ignored" // it has no value
	Again   = "again"   // it was not taken, and is tried again
)

// Outcomes lists all outcomes.
var Outcomes = [...]string{Taken, Refused, Ignored, Again}

// Stats are the counts since the start of the process.
type Stats struct {
	Connected bool  // the cluster answers
	Assigned  int   // partitions
	Paused    int   // partitions of which nothing is fetched for now
	Lag       int64 // messages of these partitions that are not taken yet, as far as known
	Messages  map[string]uint64
}

// outcomeCounter counts messages by outcome. It is safe for concurrent use.
type outcomeCounter struct{ by [len(Outcomes)]atomic.Uint64 }

func (t *outcomeCounter) add(outcome string, n int) {
	t.by[slices.Index(Outcomes[:], outcome)].Add(uint64(n))
}

// Stats returns the counts so far, or nil if c is nil.
func (c *Member) Stats() *Stats {
	if c == nil {
		return nil
	}
	s := &Stats{Connected: c.connected.Load(), Messages: make(map[string]uint64, len(Outcomes))}
	for i, outcome := range Outcomes {
		s.Messages[outcome] = c.count.by[i].Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.workers {
		w.mu.Lock()
		s.Assigned++
		if w.paused {
			s.Paused++
		}
		s.Lag += max(0, w.high-w.done)
		w.mu.Unlock()
	}
	return s
}
