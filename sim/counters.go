package sim

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"pingline"
	"pingline/sim/fault"
)

// Counters are the totals of a load so far. When it has ended, each ping sent
// has a verdict, is delivered without one, unanswered or forgotten:
// sent = accepted + … + rejected + delivered + unanswered + forgotten.
type Counters struct {
	Sent       uint64         `json:"sent"`       // distinct pings
	Riders     int64          `json:"riders"`     // phones in use
	Requests   uint64         `json:"requests"`   // retries included
	Retries    uint64         `json:"retries"`    // requests sent again
	Refused    map[int]uint64 `json:"refused"`    // requests by status other than 200; 0: no answer
	Skipped    uint64         `json:"skipped"`    // pings owed at the set rate and never made
	Unanswered uint64         `json:"unanswered"` // pings given up at the end
	Forgotten  uint64         `json:"forgotten"`  // pings refused for good by 413, 415 and the like, or given up by an app

	// Pings or requests that had a fault, by its kind.
	Faults map[string]uint64 `json:"faults"`

	Accepted  uint64 `json:"accepted"`
	Held      uint64 `json:"held"`
	Redundant uint64 `json:"redundant"`
	Duplicate uint64 `json:"duplicate"`
	Shed      uint64 `json:"shed"`
	Rejected  uint64 `json:"rejected"`
	Delivered uint64 `json:"delivered"` // by an app, which hears no verdict
}

// Answered returns how many pings have a verdict, or are delivered without one.
func (c *Counters) Answered() uint64 {
	return c.Accepted + c.Held + c.Redundant + c.Duplicate + c.Shed + c.Rejected + c.Delivered
}

// Counters returns the totals of the load so far. While it runs, pings under
// way are sent and nothing else yet.
func (l *Load) Counters() Counters {
	c := &l.count
	verdict := func(v pingline.Verdict) uint64 { return c.verdicts[v].Load() }
	s := Counters{
		Accepted: verdict(pingline.Accepted), Held: verdict(pingline.Held),
		Redundant: verdict(pingline.Redundant), Duplicate: verdict(pingline.Duplicate),
		Shed: verdict(pingline.Shed), Rejected: verdict(pingline.Rejected), Delivered: verdict(delivered),
		Unanswered: c.unanswered.Load(), Forgotten: c.forgotten.Load(),
		Skipped: c.skipped.Load(), Riders: c.riders.Load(),
		Retries: c.retries.Load(), Requests: c.requests.Load(),
		Refused: make(map[int]uint64), Faults: make(map[string]uint64),
	}
	for k := range c.faults {
		if n := c.faults[k].Load(); n > 0 {
			s.Faults[fault.Fault(k).String()] = n
		}
	}
	s.Sent = c.sent.Load() // last, so that it is never less than the verdicts
	c.mu.Lock()
	defer c.mu.Unlock()
	for status, n := range c.refused {
		s.Refused[status] = n
	}
	return s
}

// counters are Counters that many connections count.
type counters struct {
	sent, requests, retries        atomic.Uint64
	skipped, unanswered, forgotten atomic.Uint64
	riders                         atomic.Int64
	verdicts                       [pingline.Verdicts]atomic.Uint64
	faults                         [fault.Kinds]atomic.Uint64

	mu      sync.Mutex // guards the fields below; no other lock is taken while it is held
	lost    error      // why the last request without an answer has none
	refused map[int]uint64
}

func (c *counters) refuse(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = make(map[int]uint64)
	}
	c.refused[status]++
}

// lose takes down why a request has no answer, unless the load itself ended it.
func (c *counters) lose(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = err
}

// Lost returns why the last request without an answer has none, nil if all have one.
func (l *Load) Lost() error {
	l.count.mu.Lock()
	defer l.count.mu.Unlock()
	return l.count.lost
}
