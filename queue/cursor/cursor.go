// Package cursor has the named positions in a log and the notes beside them, which are kept
// together, in one place, or not at all.
package cursor

import (
	"errors"
	"maps"
	"math"
	"sync"

	"pingline/queue/record"
)

// Cursor is a position in the log: the number of the record to read next, and
// the totals before it.
type Cursor struct {
	Next   uint64        `json:"next"`
	Totals record.Totals `json:"totals"`
	Passed uint64        `json:"passed,omitempty"` // a count of its owner up to here; the log does not look at it
}

// Change is a set of changes to the cursors and notes of the log. They are kept
// together or not at all.
type Change struct {
	Set   map[string]Cursor // cursors to set, by name
	Drop  []string          // cursors to forget
	Notes map[string]string // notes to set, by name; "" forgets
}

// Marks are all that is kept.
type Marks struct {
	// Trimmed is how far the log was trimmed: records before it are gone on
	// purpose. Next is 0 if that is not known.
	Trimmed Cursor            `json:"trimmed"`
	Named   map[string]Cursor `json:"cursors"`
	Notes   map[string]string `json:"notes,omitempty"`
}

func (c Marks) clone() Marks {
	c.Named, c.Notes = maps.Clone(c.Named), maps.Clone(c.Notes)
	return c
}

// Depot is where Marks are kept.
type Depot interface {
	// Keep replaces the list that is there. The list is not changed afterwards.
	Keep(list *Marks) error
}

// Cursors are the cursors in memory, which are kept in a Depot when told to. Their methods are
// safe for concurrent use.
type Cursors struct {
	place Depot

	keeping sync.Mutex // held while the place is written; taken before mu
	closed  bool       // the place belongs to another process by now; guarded by keeping

	mu    sync.Mutex // guards the fields below; nothing else is locked under it
	now   Marks      // in memory
	kept  Marks      // in the place
	dirty bool       // now and kept differ

	pins    map[uint64]uint64 // the numbers from which on records stay
	lastPin uint64
}

// ErrClosed is wrapped by the errors of Cursors, or of a log, after Close.
var ErrClosed = errors.New("the log is closed")

// Open takes over a list as it was read from its place. The list is not changed.
func (c *Cursors) Open(place Depot, list Marks) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if list.Named == nil {
		list.Named = map[string]Cursor{}
	}
	c.place, c.now, c.kept = place, list.clone(), list
}

// Close keeps the list for the last time.
func (c *Cursors) Close() error {
	err := c.Keep()
	c.keeping.Lock()
	defer c.keeping.Unlock()
	c.closed = true
	return err
}

// Keep makes the list durable, if anything in it has changed.
func (c *Cursors) Keep() error {
	c.keeping.Lock()
	defer c.keeping.Unlock()
	if c.closed {
		return ErrClosed
	}
	c.mu.Lock()
	list, dirty := c.now.clone(), c.dirty
	c.dirty = false
	c.mu.Unlock()
	if !dirty {
		return nil
	}
	err := c.place.Keep(&list)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.dirty = true
		return err
	}
	c.kept = list
	return nil
}

// Touch has the next Keep write the list even if nothing in it has changed.
func (c *Cursors) Touch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
}

// Change makes a change in memory, at once.
func (c *Cursors) Change(ch Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	for _, name := range ch.Drop {
		delete(c.now.Named, name)
	}
	maps.Copy(c.now.Named, ch.Set)
	for name, text := range ch.Notes {
		if c.now.Notes == nil {
			c.now.Notes = make(map[string]string)
		}
		c.now.Notes[name] = text
		if text == "" {
			delete(c.now.Notes, name)
		}
	}
}

// Set sets the cursor called name, in memory.
func (c *Cursors) Set(name string, to Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.now.Named[name]; !ok || was != to {
		c.now.Named[name], c.dirty = to, true
	}
}

// Drop forgets the cursor called name, in memory.
func (c *Cursors) Drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.now.Named[name]; ok {
		delete(c.now.Named, name)
		c.dirty = true
	}
}

// SetTrimmed notes how far the log was trimmed, in memory.
func (c *Cursors) SetTrimmed(to Cursor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.Trimmed, c.dirty = to, true
}

// Get returns the cursor called name, as it is in memory, if there is one.
func (c *Cursors) Get(name string) (Cursor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.now.Named[name]
	return at, ok
}

// Note returns the note called name, "" if there is none.
func (c *Cursors) Note(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Notes[name]
}

// All returns all cursors as they are in memory.
func (c *Cursors) All() map[string]Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.now.Named)
}

// Kept returns all cursors as they are in the place.
func (c *Cursors) Kept() map[string]Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.kept.Named)
}

// Trimmed returns how far the log was trimmed.
func (c *Cursors) Trimmed() Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.Trimmed
}

// Furthest returns the cursor that is furthest on.
func (c *Cursors) Furthest() Cursor {
	c.mu.Lock()
	defer c.mu.Unlock()
	far := c.now.Trimmed
	for _, at := range c.now.Named {
		if at.Next > far.Next {
			far = at
		}
	}
	return far
}

// Nearest returns the lowest position of any cursor, in memory or kept, or of a pin, and
// false if there is no cursor.
func (c *Cursors) Nearest() (next uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, ok = c.lowest()
	if ok {
		for _, pinned := range c.pins {
			next = min(next, pinned)
		}
	}
	return next, ok
}

// Held is Nearest without some cursors, and the largest number if nothing holds the log.
func (c *Cursors) Held(but func(cursor string) bool) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := uint64(math.MaxUint64)
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for name, at := range list {
			if at.Next < next && !but(name) {
				next = at.Next
			}
		}
	}
	for _, pinned := range c.pins {
		next = min(next, pinned)
	}
	return next
}

// lowest is Nearest without pins. The caller holds mu.
func (c *Cursors) lowest() (next uint64, ok bool) {
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for _, at := range list {
			if !ok || at.Next < next {
				next, ok = at.Next, true
			}
		}
	}
	return next, ok
}

// At returns a cursor that stands at number.
func (c *Cursors) At(number uint64) (Cursor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.Trimmed.Next == number {
		return c.now.Trimmed, true
	}
	for _, list := range [...]map[string]Cursor{c.now.Named, c.kept.Named} {
		for _, at := range list {
			if at.Next == number {
				return at, true
			}
		}
	}
	return Cursor{}, false
}
