// Package resume keeps in the log the positions at which the lanes of the sink
// go on.
//
// Each lane and each hole has a cursor, whose name says which lane or hole it is,
// and the log notes the layout that they belong to. Under another layout all lanes
// begin again at the lowest cursor there ever was, so that no entry is left out;
// some entries are written twice. A shard that is taken away stays noted until it
// is back, or its points are said to be elsewhere.
//
// It reads the log's cursors and notes once, when the sink is opened; moving the
// cursors is for the lanes.
package resume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/queue"
	"pingline/sink/route"
)

// Saved are the positions at which the lanes go on, as the log keeps them.
//
// A lane's cursor is called sink-<shard>-<lane>; a hole's is called
// sink-<shard>-hole-<end>; both hold the log back from being trimmed. Passed in
// each cursor counts the entries of the lane that lie before it, ever. Together
// with the entries that wait they make up the log's totals, which checks that
// every entry has exactly one lane and that every lane has passed as many
// entries as it says.
//
// The layout is a note of the shards, weights and routes that decide which lane an
// entry belongs to: cursors are valid only with their layout.
type Saved struct {
	Lanes [][route.LaneKinds]queue.Cursor // by shard
	Holes [][]Hole                        // by shard, oldest first
}

// Hole is the commits that a lane has left out, to be filled in meanwhile.
type Hole struct {
	At  queue.Cursor // how far it is filled
	End uint64       // number of the first commit behind it
}

// Config says which lanes there are. All fields but Moved are required.
type Config struct {
	Log    *queue.Log
	Layout route.Layout
	Moved  []string // shards that were taken away and whose points are elsewhere, or not wanted; and sets that lack none any more
	Logger *slog.Logger
}

// LayoutNote is the name of the note of the layout; that of another set than the first
// has the set's name behind it.
const LayoutNote = "sink-layout"

func noteOf(name, set string) string {
	if set == "" {
		return name
	}
	return name + route.SetSep + set
}

// layoutNote returns the name of the note of the layout.
func (c *Config) layoutNote() string { return noteOf(LayoutNote, c.Layout.Space()) }

// SpaceOf returns the space of the layout, "" for the first of the first set, that a cursor
// belongs to, and whether it is a cursor of a lane or a hole.
func SpaceOf(cursor string) (space string, ok bool) {
	m := CursorName.FindStringSubmatch(cursor)
	if m == nil {
		return "", false
	}
	if before, _, of := strings.Cut(m[1], route.SetSep); of {
		space = before
	}
	return space, true
}

// DropSets drops the cursors of all sets but the first and those of keep, so that they
// hold nothing back, and returns the names of those sets.
func DropSets(log *queue.Log, keep []string) (gone []string, err error) {
	change := queue.Change{Notes: map[string]string{}}
	for name := range log.Cursors() {
		space, ok := SpaceOf(name)
		set, _, _ := strings.Cut(space, route.EraSep)
		if !ok || set == "" || slices.Contains(keep, set) {
			continue
		}
		change.Drop = append(change.Drop, name)
		for _, note := range append(notesOf(set), notesOf(space)...) {
			change.Notes[note] = ""
		}
		if !slices.Contains(gone, set) {
			gone = append(gone, set)
		}
	}
	if len(gone) == 0 {
		return nil, nil
	}
	slices.Sort(gone)
	log.Change(change)
	return gone, log.KeepCursors()
}

// CursorName reads the name of a cursor: the shard, the lane or hole, and the end of
// a hole.
var CursorName = regexp.MustCompile(`^sink-(.+)-(critical|live|backfill|own|hole-(\d+))$`)

// LaneCursor returns the name of the cursor of a lane.
func LaneCursor(shard string, kind route.LaneKind) string {
	return "sink-" + shard + "-" + kind.String()
}

// HoleCursor returns the name of the cursor of a hole.
func HoleCursor(shard string, end uint64) string {
	return fmt.Sprintf("sink-%s-hole-%d", shard, end)
}

// From returns where the lanes of cfg go on. If the cursors were saved under
// another layout, or some are missing, all lanes are reset.
func From(cfg Config) (Saved, error) {
	defer cfg.forgetLacks()
	layout := cfg.Layout.String()
	if k, whole := cfg.load(); whole && cfg.Log.Note(cfg.layoutNote()) == layout {
		if note := cfg.goneBy(layout, layout).String(); note != cfg.Log.Note(noteOf(goneNote, cfg.Layout.Set)) { // Config.Moved has named some of them
			cfg.Log.Change(queue.Change{Notes: map[string]string{noteOf(goneNote, cfg.Layout.Set): note}})
		}
		return k, nil
	}
	return cfg.reset(layout)
}

// load returns the cursors of the configured shards, and whether every lane has
// one.
func (c *Config) load() (k Saved, whole bool) {
	cursors := c.Log.Cursors()
	whole = true
	for i := range c.Layout.Shards {
		name := c.Layout.Qualified(i)
		var lanes [route.LaneKinds]queue.Cursor
		for kind := range route.LaneKinds {
			at, ok := cursors[LaneCursor(name, kind)]
			lanes[kind], whole = at, whole && ok
		}
		k.Lanes = append(k.Lanes, lanes)
		k.Holes = append(k.Holes, holesOf(name, cursors))
	}
	return k, whole
}

func holesOf(shard string, cursors map[string]queue.Cursor) (list []Hole) {
	for name, at := range cursors {
		m := CursorName.FindStringSubmatch(name)
		if m == nil || m[1] != shard || m[3] == "" {
			continue
		}
		if end, err := strconv.ParseUint(m[3], 10, 64); err == nil {
			list = append(list, Hole{At: at, End: end})
		}
	}
	slices.SortFunc(list, func(a, b Hole) int { return cmp.Compare(a.End, b.End) })
	return list
}

// reset has all lanes begin at the lowest cursor of any lane or hole there ever
// was, also of shards that are gone. Entries behind it may have been written
// already by another lane than theirs now, but all entries before it are
// written. One lane of each total counts the entries before it as passed. The
// new cursors, their layout and the end of the old cursors are a single change
// of the log.
func (c *Config) reset(layout string) (k Saved, err error) {
	layoutNote, goneNote := c.layoutNote(), noteOf(goneNote, c.Layout.Set)
	change := queue.Change{Set: make(map[string]queue.Cursor), Notes: map[string]string{
		layoutNote: layout,
		goneNote:   c.goneBy(c.Log.Note(layoutNote), layout).String(),
	}}
	var start queue.Cursor
	for name, at := range c.Log.Cursors() {
		if space, ok := SpaceOf(name); ok && space == c.Layout.Space() {
			change.Drop = append(change.Drop, name)
			if start.Next == 0 || at.Next < start.Next {
				start = at
			}
		}
	}
	if start.Next == 0 {
		if start, err = beginning(c.Log); err != nil {
			return Saved{}, err
		}
		c.noteAdded(&change, start)
	} else {
		c.Logger.Info("the shards, weights or routes were changed: all lanes start anew", "was", c.Log.Note(layoutNote), "is", layout, "from", start.Next, "last", c.Log.Last())
	}
	k = begin(&change, &c.Layout, start, start)
	c.Log.Change(change)
	if err := c.Log.KeepCursors(); err != nil {
		return Saved{}, err
	}
	return k, nil
}

// begin adds to a change that all lanes of a layout begin at a position, those of our own lines at
// lines.
func begin(change *queue.Change, l *route.Layout, start, lines queue.Cursor) (k Saved) {
	start.Passed, lines.Passed = 0, 0
	for i := range l.Shards {
		name := l.Qualified(i)
		var lanes [route.LaneKinds]queue.Cursor
		for kind := range route.LaneKinds {
			at := start
			if kind == route.Own {
				at = lines
			}
			if i == 0 && kind.CountsDamage() {
				at.Passed = at.Totals[kind.Total()]
			}
			lanes[kind], change.Set[LaneCursor(name, kind)] = at, at
		}
		k.Lanes, k.Holes = append(k.Lanes, lanes), append(k.Holes, nil)
	}
	return k
}

// beginning returns the position of the first commit that can be read.
func beginning(log *queue.Log) (queue.Cursor, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	head := log.Head()
	r := log.Read(log.First())
	defer r.Close()
	for at := log.First(); at < head.Next; {
		rec, err := r.Next(ctx)
		lost := new(queue.DamageError)
		switch {
		case errors.As(err, &lost):
			at = lost.To + 1
		case err != nil:
			return queue.Cursor{}, fmt.Errorf("first commit of the log: %w", err)
		default:
			return queue.Cursor{Next: rec.Number, Totals: rec.Before}, nil
		}
	}
	return head, nil
}
