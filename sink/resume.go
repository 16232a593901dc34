package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"pingline/queue"
	"pingline/sink/route"
)

// savedCursors are the positions at which the lanes go on, as the log keeps them.
//
// A lane's cursor is called sink-<shard>-<lane>; a hole is one called
// sink-<shard>-hole-<end>, so that both hold the log back from being trimmed.
// Passed in each counts the entries of the lane that lie before it, since ever.
// Together with the entries that wait they make up the log's totals, which checks
// that every entry has one lane and every lane has passed as many as it says.
//
// The layout is a note of the shards, weights and routes that decide which lane an
// entry belongs to: cursors mean something only with their layout.
type savedCursors struct {
	lanes [][route.LaneKinds]queue.Cursor // by shard
	holes [][]hole                        // by shard, oldest first
}

const layoutNote = "sink-layout"

var cursorName = regexp.MustCompile(`^sink-(.+)-(critical|live|backfill|own|hole-(\d+))$`)

func laneCursor(shard string, kind route.LaneKind) string {
	return "sink-" + shard + "-" + kind.String()
}

func holeCursor(shard string, end uint64) string {
	return fmt.Sprintf("sink-%s-hole-%d", shard, end)
}

// resume returns where the lanes of cfg go on. If the cursors were saved under
// another layout, or some are missing, all lanes are reset.
func resume(cfg *Config) (savedCursors, error) {
	at := cfg.layout()
	layout := at.String()
	if k, whole := cfg.load(); whole && cfg.Log.Note(layoutNote) == layout {
		if note := cfg.goneBy(layout, layout).String(); note != cfg.Log.Note(goneNote) { // some have moved
			cfg.Log.Change(queue.Change{Notes: map[string]string{goneNote: note}})
		}
		return k, nil
	}
	return cfg.reset(layout)
}

// load returns the cursors of the configured shards, and whether every lane has
// one.
func (c *Config) load() (k savedCursors, whole bool) {
	cursors := c.Log.Cursors()
	whole = true
	for _, s := range c.Shards {
		var lanes [route.LaneKinds]queue.Cursor
		for kind := range route.LaneKinds {
			at, ok := cursors[laneCursor(s.Name, kind)]
			lanes[kind], whole = at, whole && ok
		}
		k.lanes = append(k.lanes, lanes)
		k.holes = append(k.holes, holesOf(s.Name, cursors))
	}
	return k, whole
}

func holesOf(shard string, cursors map[string]queue.Cursor) (list []hole) {
	for name, at := range cursors {
		m := cursorName.FindStringSubmatch(name)
		if m == nil || m[1] != shard || m[3] == "" {
			continue
		}
		if end, err := strconv.ParseUint(m[3], 10, 64); err == nil {
			list = append(list, hole{at: at, end: end})
		}
	}
	slices.SortFunc(list, func(a, b hole) int { return cmp.Compare(a.end, b.end) })
	return list
}

// reset has all lanes begin at the lowest cursor or hole of any lane there ever
// was, those of shards that are gone included: entries behind it may have been
// written already by another lane than theirs now, but entries before it are
// written. One lane of a total counts those as passed. The new cursors, the
// layout they belong to and the end of the old ones are one change.
func (c *Config) reset(layout string) (k savedCursors, err error) {
	change := queue.Change{Set: make(map[string]queue.Cursor), Notes: map[string]string{
		layoutNote: layout,
		goneNote:   c.goneBy(c.Log.Note(layoutNote), layout).String(),
	}}
	var start queue.Cursor
	for name, at := range c.Log.Cursors() {
		if cursorName.MatchString(name) {
			change.Drop = append(change.Drop, name)
			if start.Next == 0 || at.Next < start.Next {
				start = at
			}
		}
	}
	if start.Next == 0 {
		if start, err = beginning(c.Log); err != nil {
			return savedCursors{}, err
		}
	} else {
		c.Logger.Info("the shards are not what they were: their lanes start anew", "was", c.Log.Note(layoutNote), "is", layout, "from", start.Next, "last", c.Log.Last())
	}
	start.Passed = 0
	for i, s := range c.Shards {
		var lanes [route.LaneKinds]queue.Cursor
		for kind := range route.LaneKinds {
			at := start
			if i == 0 && kind.CountsDamage() {
				at.Passed = start.Totals[kind.Total()]
			}
			lanes[kind], change.Set[laneCursor(s.Name, kind)] = at, at
		}
		k.lanes, k.holes = append(k.lanes, lanes), append(k.holes, nil)
	}
	c.Log.Change(change)
	if err := c.Log.KeepCursors(); err != nil {
		return savedCursors{}, err
	}
	return k, nil
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
