package sqs

import (
	"slices"
	"sync/atomic"
)

// The outcomes of a message. They are labels of metrics.
const (
	Taken   = "taken"   // its pings are durable or need no storing
	Refused = "refused" // it can never be taken: kept in the file of refused messages, or left to the queue's redrive
	Again   = "again"   // it was given back to the queue, or stays there for lack of room in the file
)

// Outcomes lists all outcomes.
var Outcomes = [...]string{Taken, Refused, Again}

// Stats are the counts since the start of the process.
type Stats struct {
	Connected bool // the queue answers
	Messages  map[string]uint64
}

// haulCounter counts messages by outcome. It is safe for concurrent use.
type haulCounter struct{ by [len(Outcomes)]atomic.Uint64 }

func (f *haulCounter) add(outcome string, n int) {
	f.by[slices.Index(Outcomes[:], outcome)].Add(uint64(n))
}

// Stats returns the counts so far, or nil if r is nil.
func (r *Receiver) Stats() *Stats {
	if r == nil {
		return nil
	}
	s := &Stats{Connected: r.connected.Load(), Messages: make(map[string]uint64, len(Outcomes))}
	for i, outcome := range Outcomes {
		s.Messages[outcome] = r.count.by[i].Load()
	}
	return s
}
