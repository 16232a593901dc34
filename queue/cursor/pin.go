package cursor

import (
	"cmp"
	"maps"
)

// Pin keeps the records from a number on from being trimmed while they are copied. It is
// in memory only, and must be released. Safe for concurrent use.
type Pin struct {
	keeper *Cursors
	id     uint64
}

// Positions are the cursors and notes of a log at a moment, and the number of the first
// record that any of the cursors needs, which may be lost.
type Positions struct {
	First   uint64
	Cursors map[string]Cursor
	Notes   map[string]string
}

// Pin pins the records that the cursors of this moment need, at least the record of number
// last, and returns these cursors. The log's first record is that of number first. No record
// may be trimmed meanwhile.
func (c *Cursors) Pin(first, last uint64) (*Pin, Positions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := Positions{First: cmp.Or(c.now.Trimmed.Next, first), Cursors: maps.Clone(c.now.Named), Notes: maps.Clone(c.now.Notes)}
	if next, ok := c.lowest(); ok {
		at.First = max(at.First, min(next, last))
	}
	if c.pins == nil {
		c.pins = make(map[uint64]uint64)
	}
	c.lastPin++
	c.pins[c.lastPin] = at.First
	return &Pin{c, c.lastPin}, at
}

// Move lets the records before number next go.
func (p *Pin) Move(next uint64) {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	if was, ok := p.keeper.pins[p.id]; ok {
		p.keeper.pins[p.id] = max(was, next)
	}
}

// Holds reports whether records stay that every cursor has passed.
func (p *Pin) Holds() bool {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	next, ok := p.keeper.lowest()
	pinned, held := p.keeper.pins[p.id]
	return ok && held && pinned < next
}

// Release lets all records go. It may be called again.
func (p *Pin) Release() {
	p.keeper.mu.Lock()
	defer p.keeper.mu.Unlock()
	delete(p.keeper.pins, p.id)
}
