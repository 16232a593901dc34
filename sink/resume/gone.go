package resume

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/queue"
	"pingline/sink/route"
)

// A shard that is taken out of the configuration keeps its points, and nobody
// reads them any more: an answer about an earlier time may lack some. So the log
// keeps a note of the shards that are gone and when each went, until the shard is
// back or the configuration says that its points are elsewhere.

const goneNote = "sink-gone"

// Removed has the time at which each removed shard went, ms, by name.
type Removed map[string]int64

// RemovedFrom returns the shards of a set, "" for the first, that the log notes as gone.
func RemovedFrom(log *queue.Log, set string) Removed {
	return parseGone(log.Note(noteOf(goneNote, set)))
}

// parseGone reads a note: name=ms name=ms …. A part that cannot be read is
// left out.
func parseGone(note string) Removed {
	g := make(Removed)
	for part := range strings.FieldsSeq(note) {
		name, text, _ := strings.Cut(part, "=")
		if at, err := strconv.ParseInt(text, 10, 64); err == nil {
			g[name] = at
		}
	}
	return g
}

func (g Removed) String() string {
	var parts []string
	for name, at := range g {
		parts = append(parts, fmt.Sprintf("%s=%d", name, at))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// goneBy returns the shards that are gone once the layout was is replaced by
// layout.
func (c *Config) goneBy(was, layout string) Removed {
	g := RemovedFrom(c.Log, c.Layout.Set)
	for _, name := range route.PingShards(was) {
		if _, known := g[name]; !known {
			g[name] = time.Now().UnixMilli()
		}
	}
	for _, name := range slices.Concat(route.PingShards(layout), c.Moved) {
		delete(g, name)
	}
	return g
}

// Before returns the time, ms, before which points may be in shards that are
// gone and not read; 0 if there are none.
func (g Removed) Before() (at int64) {
	for _, when := range g {
		at = max(at, when)
	}
	return at
}

// Sentences returns a sentence for an operator on each shard that is gone.
func (g Removed) Sentences() (notes []string) {
	for name, at := range g {
		notes = append(notes, fmt.Sprintf("shard %s was taken away at %s: its pings are not read, and earlier tracks are partial; put it back, or name it in --moved-shard",
			name, time.UnixMilli(at).UTC().Format(time.RFC3339)))
	}
	slices.Sort(notes)
	return notes
}
