package queue

import "maps"

// Change is a set of changes to the cursors and notes of the log. They are kept
// together or not at all.
type Change struct {
	Set   map[string]Cursor // cursors to set, by name
	Drop  []string          // cursors to forget
	Notes map[string]string // notes to set, by name; "" forgets
}

// Change makes a change in memory, at once; about a second later, or at the
// next KeepCursors, it is kept.
func (l *Log) Change(c Change) { l.cursors.change(c) }

// Note returns what was noted under name, "" if nothing was. Notes are for
// those who own the cursors: what they must know to make sense of them.
func (l *Log) Note(name string) string {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	return l.cursors.now.Notes[name]
}

// Cursors returns all cursors as they are in memory.
func (l *Log) Cursors() map[string]Cursor {
	l.cursors.mu.Lock()
	defer l.cursors.mu.Unlock()
	return maps.Clone(l.cursors.now.Named)
}

// Head returns the position behind the last durable record, and the totals
// there.
func (l *Log) Head() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Cursor{Next: l.last + 1, Totals: l.totals}
}

func (c *cursors) change(ch Change) {
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
