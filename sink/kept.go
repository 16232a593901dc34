package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/queue"
)

// kept is where the lanes go on: what the log keeps for them.
//
// A lane's cursor is called sink-<shard>-<lane>; a hole is one called
// sink-<shard>-hole-<end>, so that both hold the log back from being trimmed.
// Passed in each counts the entries of the lane that lie before it, since ever.
// Together, and with what waits, they must make up the log's totals: that every
// entry has one lane and every lane has passed what it says can so be checked.
//
// The layout is a note that says what the cursors mean: the shards, weights and
// routes that decide which entry is whose.
type kept struct {
	lanes [][laneKinds]queue.Cursor // by shard
	holes [][]hole                  // by shard, oldest first
}

const layoutNote = "sink-layout"

var cursorName = regexp.MustCompile(`^sink-(.+)-(critical|live|backfill|own|hole-(\d+))$`)

func laneCursor(shard string, kind laneKind) string { return "sink-" + shard + "-" + kind.String() }

func holeCursor(shard string, end uint64) string {
	return fmt.Sprintf("sink-%s-hole-%d", shard, end)
}

// layout says all that decides which entry is whose.
func (c *Config) layout() string {
	var b strings.Builder
	b.WriteString("1 shards")
	for i, s := range c.Shards {
		switch {
		case i >= c.spread():
			fmt.Fprintf(&b, " (%s)", s.Name)
		case c.Spread == nil:
			fmt.Fprintf(&b, " %s", s.Name)
		default:
			fmt.Fprintf(&b, " %s=%v", s.Name, c.Spread.At(i).Weight)
		}
	}
	for _, name := range routeNames {
		if to, ok := c.Routes[name]; ok {
			fmt.Fprintf(&b, " %s:%s", name, c.Shards[to].Name)
		}
	}
	return b.String()
}

// goOn returns where the lanes of cfg go on. If what is kept was made under
// another layout, or is not whole, all of them start anew.
func goOn(cfg *Config) (kept, error) {
	layout := cfg.layout()
	if k, whole := cfg.recall(); whole && cfg.Log.Note(layoutNote) == layout {
		if note := cfg.goneBy(layout, layout).String(); note != cfg.Log.Note(goneNote) { // some have moved
			cfg.Log.Change(queue.Change{Notes: map[string]string{goneNote: note}})
		}
		return k, nil
	}
	return cfg.startAnew(layout)
}

// recall returns what is kept for the configured shards, and whether every lane
// is there.
func (c *Config) recall() (k kept, whole bool) {
	cursors := c.Log.Cursors()
	whole = true
	for _, s := range c.Shards {
		var lanes [laneKinds]queue.Cursor
		for kind := range laneKinds {
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

// startAnew has all lanes begin at the lowest cursor or hole of any lane there
// ever was, those of shards that are gone included: what lies behind it may be
// written already by another lane than the one that owns it now, but what lies
// before it is written. One lane takes all that as passed. The new cursors, the
// layout they belong to and the end of the old ones are one change.
func (c *Config) startAnew(layout string) (k kept, err error) {
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
			return kept{}, err
		}
	} else {
		c.Logger.Info("the shards are not what they were: their lanes start anew", "was", c.Log.Note(layoutNote), "is", layout, "from", start.Next, "last", c.Log.Last())
	}
	start.Passed = 0
	for i, s := range c.Shards {
		var lanes [laneKinds]queue.Cursor
		for kind := range laneKinds {
			at := start
			if i == 0 && kind.keepsAccounts() {
				at.Passed = start.Totals[kind.total()]
			}
			lanes[kind], change.Set[laneCursor(s.Name, kind)] = at, at
		}
		k.lanes, k.holes = append(k.lanes, lanes), append(k.holes, nil)
	}
	c.Log.Change(change)
	if err := c.Log.KeepCursors(); err != nil {
		return kept{}, err
	}
	return k, nil
}

// keepsAccounts reports whether this lane of the first shard takes on what
// cannot be told by entries: what lies before the start, and what is damaged.
// It is one that never jumps.
func (k laneKind) keepsAccounts() bool { return k == critical || k == own }

// total returns which of the log's totals counts the entries of such lanes.
func (k laneKind) total() int {
	if k == own {
		return pingline.TotalLines
	}
	return pingline.TotalStored
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
