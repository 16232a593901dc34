package queue

// Cursor returns the cursor called name, if there is one.
func (l *Log) Cursor(name string) (Cursor, bool) { return l.cursors.Get(name) }

// SetCursor sets the cursor called name, in memory; about a second later, or at
// the next KeepCursors, it is kept. Its totals are the totals before record
// to.Next.
func (l *Log) SetCursor(name string, to Cursor) { l.cursors.Set(name, to) }

// DropCursor forgets the cursor called name.
func (l *Log) DropCursor(name string) { l.cursors.Drop(name) }

// Kept returns the cursors as they are on disk, or on the servers: where the readers would
// go on after a crash.
func (l *Log) Kept() map[string]Cursor { return l.cursors.Kept() }

// Held returns the number of the record from which on the log would still be held back, by
// other cursors and pins, if those that but reports true for were at its end.
func (l *Log) Held(but func(cursor string) bool) uint64 { return l.cursors.Held(but) }

// KeepCursors makes the cursors durable.
func (l *Log) KeepCursors() error { return l.cursors.Keep() }

// Change makes a change in memory, at once; about a second later, or at the
// next KeepCursors, it is kept.
func (l *Log) Change(c Change) { l.cursors.Change(c) }

// Note returns the note called name, "" if there is none. Notes are for the owners
// of cursors, who may need to keep more than a position.
func (l *Log) Note(name string) string { return l.cursors.Note(name) }

// Cursors returns all cursors as they are in memory.
func (l *Log) Cursors() map[string]Cursor { return l.cursors.All() }

// Shared reports whether several nodes may have the log in turn: it is on servers.
func (l *Log) Shared() bool { return l.owner != nil }

// Notes returns a sentence for each risk that the settings of the log's servers take, as far as
// they are known.
func (l *Log) Notes() []string {
	if text := l.session().Warning(); text != "" {
		return []string{text}
	}
	return nil
}

// Head returns the position behind the last durable record, and the totals
// there.
func (l *Log) Head() Cursor {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Cursor{Next: l.last + 1, Totals: l.totals}
}

// Pin pins the records that the cursors of this moment need, at least the last record, and
// returns these cursors.
func (l *Log) Pin() (*Pin, Positions) {
	l.mu.Lock() // no record is trimmed meanwhile
	defer l.mu.Unlock()
	return l.cursors.Pin(l.first, l.kept)
}
