package server

import (
	"sync/atomic"
)

// budget counts what requests take of something, such as bytes, and refuses what
// is too much: of all, or of one client. It is safe for concurrent use.
//
// A client may have a quarter of it. More than that it may have only while half
// of the whole is free, so that nobody alone refuses the service to others, and
// somebody alone is not held to a quarter.
type budget struct {
	most   int64
	used   atomic.Int64
	shares [shares]atomic.Int64 // by key of the client; two in some thousands share one
}

const shares = 1 << 12

// claim is the part of a budget that one request has.
type claim struct {
	of    *budget
	share *atomic.Int64 // nil: the client is one of ours
	held  int64
}

// claim returns one of nothing yet. A client that is one of ours has no share: it
// stands for many.
func (b *budget) claim(client uint64, ours bool) claim {
	c := claim{of: b}
	if !ours {
		c.share = &b.shares[client%shares]
	}
	return c
}

// take reports whether n more could be had; give gives them back. What is in use
// is never more than there may be, not even while a claim is being refused.
func (c *claim) take(n int64) bool {
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

func (c *claim) give(n int64) {
	c.held -= n
	c.of.used.Add(-n)
	if c.share != nil {
		c.share.Add(-n)
	}
}

// settle gives back what c has beyond n, or counts what it lacks: memory that is
// there already is not refused.
func (c *claim) settle(n int64) { c.give(c.held - n) }

// drop gives all back. It may be called of a claim on nothing.
func (c *claim) drop() {
	if c.of != nil {
		c.give(c.held)
	}
}
