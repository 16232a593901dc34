package resume

import (
	"maps"
	"strings"
	"time"

	"pingline/queue"
	"pingline/sink/route"
)

// Where the shards of a set are changed while it runs, the log is cut into eras: each has a
// layout of its own, and its lanes have cursors of their own, which begin at the place where
// the era before it ends.

// EraNote is the name of the note that tells the eras of the first set; that of another has the
// set's name behind it, as all notes.
const EraNote = "sink-eras"

// Eras returns the note of the eras of a set, "" for the first, and "" if it has but one.
func Eras(log *queue.Log, set string) string { return log.Note(noteOf(EraNote, set)) }

// NoteEras adds to a change the eras of a set.
func NoteEras(change *queue.Change, set, eras string) {
	setNote(change, noteOf(EraNote, set), eras)
}

func setNote(change *queue.Change, name, text string) {
	if change.Notes == nil {
		change.Notes = make(map[string]string)
	}
	change.Notes[name] = text
}

// Begin adds to a change that all lanes of a layout begin at a position, or at one of their own those
// of our own lines.
func Begin(change *queue.Change, l *route.Layout, at, lines queue.Cursor) {
	if change.Set == nil {
		change.Set = make(map[string]queue.Cursor)
	}
	begin(change, l, at, lines)
	setNote(change, noteOf(LayoutNote, l.Space()), l.String())
}

// Drop adds to a change that the cursors of a space are dropped, and its layout is forgotten.
func Drop(change *queue.Change, log *queue.Log, space string) {
	for name := range log.Cursors() {
		if of, ok := SpaceOf(name); ok && of == space {
			change.Drop = append(change.Drop, name)
		}
	}
	setNote(change, noteOf(LayoutNote, space), "")
	if strings.Contains(space, route.EraSep) {
		setNote(change, noteOf(lacksNote, space), "")
	}
}

// Lowest returns the lowest cursor of some spaces, and false if one of them has none.
func Lowest(log *queue.Log, spaces ...string) (at queue.Cursor, whole bool) {
	missing := make(map[string]bool)
	for _, space := range spaces {
		missing[space] = true
	}
	for name, c := range log.Cursors() {
		space, ok := SpaceOf(name)
		if _, is := missing[space]; !ok || !is {
			continue
		}
		if missing[space] = false; at.Next == 0 || c.Next < at.Next {
			at = c
		}
	}
	for gone := range maps.Values(missing) {
		if gone {
			return at, false
		}
	}
	return at, true
}

// Stands returns the lowest cursors of a space: that of the lanes of pings and of holes, and that of
// the lanes of our own lines.
func Stands(log *queue.Log, space string) (pings, lines queue.Cursor) {
	for name, at := range log.Cursors() {
		if of, ok := SpaceOf(name); !ok || of != space {
			continue
		}
		lowest := &pings
		if CursorName.FindStringSubmatch(name)[2] == route.Own.String() {
			lowest = &lines
		}
		if lowest.Next == 0 || at.Next < lowest.Next {
			*lowest = at
		}
	}
	return pings, lines
}

// Beginning returns the position of the first commit that can be read.
func Beginning(log *queue.Log) (queue.Cursor, error) { return beginning(log) }

// NoteBack adds to a change that shards which were noted as gone are read again.
func NoteBack(change *queue.Change, log *queue.Log, set string, names ...string) {
	g := RemovedFrom(log, set)
	for _, name := range names {
		delete(g, name)
	}
	setNote(change, noteOf(goneNote, set), g.String())
}

// NoteGone adds to a change that shards of a set, "" for the first, are not read any more. It
// reports whether there is any that was not noted yet.
func NoteGone(change *queue.Change, log *queue.Log, set string, names ...string) (news bool) {
	g := RemovedFrom(log, set)
	for _, name := range names {
		if _, known := g[name]; !known {
			g[name], news = time.Now().UnixMilli(), true
		}
	}
	setNote(change, noteOf(goneNote, set), g.String())
	return news
}
