// Package share gives requests parts of what all requests may take together, and holds
// each client to a share of it.
//
// A request that does not fit is refused at once: nothing waits for its turn. The package
// counts what it is told, and knows nothing of what a request really takes.
package share

import (
	"sync/atomic"
)

// Budget counts a resource of requests, such as bytes, and refuses a request that takes
// too much, together with all requests or with the requests of its client. It is safe
// for concurrent use.
//
// A client may have a quarter of the budget, and more only while half of the budget is
// free. So no client alone can shut out the rest, and a client alone is not held to a
// quarter.
type Budget struct {
	most   int64
	used   atomic.Int64
	shares [shares]atomic.Int64 // by key of the client; two clients in some thousands have the same share
}

const shares = 1 << 12

// New returns a budget of most.
func New(most int64) *Budget { return &Budget{most: most} }

// Most returns how much there is.
func (b *Budget) Most() int64 { return b.most }

// Used returns how much is in use.
func (b *Budget) Used() int64 { return b.used.Load() }

// Claim is the part of a budget that a request has.
type Claim struct {
	of    *Budget
	share *atomic.Int64 // share of the client; nil: a trusted client has no share
	held  int64
}

// Claim returns an empty claim. A trusted client (ours) has no share, because it sends
// for many clients.
func (b *Budget) Claim(client uint64, ours bool) Claim {
	c := Claim{of: b}
	if !ours {
		c.share = &b.shares[client%shares]
	}
	return c
}

// Take takes n more and reports whether the budget had them. No more than the budget is
// ever in use, not even while a claim is being refused.
func (c *Claim) Take(n int64) bool {
	used := c.of.used.Load()
	for ; used+n <= c.of.most; used = c.of.used.Load() {
		if c.of.used.CompareAndSwap(used, used+n) {
			break
		}
	}
	if used+n > c.of.most {
		return false
	}
	fits := true
	if c.share != nil {
		own := c.share.Add(n)
		fits = own <= c.of.most/4 || used+n <= c.of.most/2
	}
	c.held += n
	if !fits {
		c.give(n)
	}
	return fits
}

func (c *Claim) give(n int64) {
	c.held -= n
	c.of.used.Add(-n)
	if c.share != nil {
		c.share.Add(-n)
	}
}

// Holds returns how much c has.
func (c *Claim) Holds() int64 { return c.held }

// Settle makes c hold n: it gives the rest back, or takes the difference even beyond the
// budget, because the memory is already in use.
func (c *Claim) Settle(n int64) { c.give(c.held - n) }

// Drop gives all back. The claim may be empty, or have no budget.
func (c *Claim) Drop() {
	if c.of != nil {
		c.give(c.held)
	}
}

// byShare reports whether n more are refused to c because of its share, and not because
// the budget is used up.
func (c *Claim) byShare(n int64) bool {
	return c.share != nil && c.of.used.Load()+n <= c.of.most
}
