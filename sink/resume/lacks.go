package resume

import (
	"fmt"
	"slices"
	"time"

	"pingline/internal/unit"
	"pingline/queue"
	"pingline/sink/route"
)

// A set of shards that is added to a node has what the log still has, and a set that was
// given up for lack of room has what came later. An answer about an earlier time may lack
// some. So the log keeps a note of it, until the configuration says that the points are
// there, or not wanted.

const lacksNote = "sink-lacks"

// Lacks describes the gaps of a set of shards.
type Lacks struct {
	Until        int64  // points that came before this time, ms, may be missing; 0: none is
	Pings, Lines uint64 // how many of them were given up
}

const lacksForm = "until=%d pings=%d lines=%d"

// LacksOf returns the gaps that the log notes of a set, "" for the first.
func LacksOf(log *queue.Log, set string) (l Lacks) {
	if n, err := fmt.Sscanf(log.Note(noteOf(lacksNote, set)), lacksForm, &l.Until, &l.Pings, &l.Lines); n < 3 || err != nil {
		return Lacks{}
	}
	return l
}

// NoteLacks adds to a change of the log that a set lacks something.
func NoteLacks(change *queue.Change, set string, l Lacks) {
	if change.Notes == nil {
		change.Notes = make(map[string]string)
	}
	change.Notes[noteOf(lacksNote, set)] = fmt.Sprintf(lacksForm, l.Until, l.Pings, l.Lines)
}

// Sentence returns a sentence for an operator on what was given up of a set, "" if nothing
// was.
func (l Lacks) Sentence(set string) string {
	if l.Pings+l.Lines == 0 {
		return ""
	}
	return fmt.Sprintf("set %s: %s and %s were given up, the last at %s, because the log was filling up (on-full=drop-set): copy them from another set, and name %s in --moved-shard",
		set, unit.Plural(l.Pings, "ping", "pings"), unit.Plural(l.Lines, "line of our own", "lines of our own"), time.UnixMilli(l.Until).UTC().Format(time.RFC3339), set)
}

// noteAdded notes that a set which begins at a position lacks what the log had before it.
func (c *Config) noteAdded(change *queue.Change, start queue.Cursor) {
	if c.Layout.Set != "" && c.Layout.Era == "" && start.Next > 1 {
		NoteLacks(change, c.Layout.Set, Lacks{Until: time.Now().UnixMilli()})
	}
}

// forgetLacks forgets the gaps of a set, if the configuration names it as moved.
func (c *Config) forgetLacks() {
	if note := noteOf(lacksNote, c.Layout.Set); c.Log.Note(note) != "" && slices.Contains(c.Moved, c.Layout.Set) {
		c.Log.Change(queue.Change{Notes: map[string]string{note: ""}})
	}
}

// notesOf returns the names of all notes of a set.
func notesOf(set string) (names []string) {
	for _, name := range []string{LayoutNote, goneNote, lacksNote, EraNote} {
		names = append(names, name+route.SetSep+set)
	}
	return names
}
