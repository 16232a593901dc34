package sink

import (
	"sync"
	"time"
)

// ageClock tells the age of a commit. Commits are stamped by the wall clock, which an
// operator or a time server may set. So the age leaves out every jump of the wall
// clock since the commit, as measured against the monotonic clock. The zero value is
// ready; it is safe for concurrent use.
type ageClock struct {
	wall func() int64 // returns ms; nil means the system's clock

	mu    sync.Mutex  // guards all fields; nothing else is locked under it
	began time.Time   // when look was first called, by the monotonic clock
	off   int64       // wall clock − time since began, ms, as last seen
	steps []clockJump // the oldest first
}

// clockJump is a jump of the wall clock.
type clockJump struct {
	head uint64 // number of the first commit behind it
	by   int64  // ms
}

const (
	leastStep = 1000 // ms: less may be slewing, or a goroutine that waited
	mostSteps = 64
)

// look records whether the wall clock has jumped, with the log's head at head.
func (c *ageClock) look(head uint64) (now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wall == nil {
		c.wall = func() int64 { return time.Now().UnixMilli() }
	}
	now = c.wall()
	if c.began.IsZero() {
		c.began, c.off = time.Now(), now
	}
	by := now - time.Since(c.began).Milliseconds() - c.off
	if max(by, -by) < leastStep {
		return now
	}
	c.off += by
	if len(c.steps) == mostSteps { // merge the two oldest, long past
		c.steps[1].by += c.steps[0].by
		c.steps = c.steps[1:]
	}
	c.steps = append(c.steps, clockJump{head, by})
	return now
}

// age returns how long ago the commit with that number was written, given its
// stamp at, ms, and the head of the log.
func (c *ageClock) age(number uint64, at int64, head uint64) time.Duration {
	age := c.look(head) - at
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.steps {
		if number < s.head {
			age -= s.by
		}
	}
	return time.Duration(age) * time.Millisecond
}
