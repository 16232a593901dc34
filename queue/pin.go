package queue

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"pingline/queue/disk"
	"pingline/queue/mark"
)

// Pin keeps the records from a number on from being trimmed while they are copied. It is
// in memory only, and must be released. Safe for concurrent use.
type Pin struct {
	cursors *cursors
	id      uint64
}

// Positions are the cursors and notes of a log at a moment, and the number of the first
// record that any of the cursors needs, which may be lost.
type Positions struct {
	First   uint64
	Cursors map[string]Cursor
	Notes   map[string]string
}

// Pin pins the records that the cursors of this moment need, at least the last record, and
// returns these cursors.
func (l *Log) Pin() (*Pin, Positions) {
	l.mu.Lock() // no record is trimmed meanwhile
	defer l.mu.Unlock()
	c := &l.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	at := Positions{First: cmp.Or(c.now.Trimmed.Next, l.first), Cursors: maps.Clone(c.now.Named), Notes: maps.Clone(c.now.Notes)}
	if next, ok := c.lowest(); ok {
		at.First = max(at.First, min(next, l.kept))
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
	p.cursors.mu.Lock()
	defer p.cursors.mu.Unlock()
	if was, ok := p.cursors.pins[p.id]; ok {
		p.cursors.pins[p.id] = max(was, next)
	}
}

// Holds reports whether records stay that every cursor has passed.
func (p *Pin) Holds() bool {
	p.cursors.mu.Lock()
	defer p.cursors.mu.Unlock()
	next, ok := p.cursors.lowest()
	pinned, held := p.cursors.pins[p.id]
	return ok && held && pinned < next
}

// Release lets all records go. It may be called again.
func (p *Pin) Release() {
	p.cursors.mu.Lock()
	defer p.cursors.mu.Unlock()
	delete(p.cursors.pins, p.id)
}

// Begin has the log in dir, which is not open, give at.Next to its next record. In a
// directory without a log it begins there; a log that ends before it has lost the records
// between.
func Begin(dir string, at Cursor) error {
	if err := disk.MakeDir(dir); err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	path := filepath.Join(dir, cursorsFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		text, err := (&cursorList{Trimmed: at}).encode()
		if err == nil {
			err = disk.WriteAside(path, text)
		}
		if err != nil {
			return fmt.Errorf("begin log: %w", err)
		}
	}
	high, _, _, err := mark.Open(filepath.Join(dir, highWaterFile))
	if err == nil {
		err = errors.Join(high.Write(at.Next-1, &at.Totals), high.Close())
	}
	if err != nil {
		return fmt.Errorf("begin log: %w", err)
	}
	return nil
}
