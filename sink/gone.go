package sink

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/sink/route"
)

// A shard that is taken out of the configuration keeps its points, and nobody
// reads them any more: an answer about times before that may lack some. So the
// log keeps a note of the shards that are gone and of when each went, until it is
// back or Config.Moved says that its points are elsewhere.

const goneNote = "sink-gone"

// gone is when shards went, ms, by name.
type gone map[string]int64

// parseGone reads a note: name=ms name=ms …. What cannot be read is left out.
func parseGone(note string) gone {
	g := make(gone)
	for part := range strings.FieldsSeq(note) {
		name, text, _ := strings.Cut(part, "=")
		if at, err := strconv.ParseInt(text, 10, 64); err == nil {
			g[name] = at
		}
	}
	return g
}

func (g gone) String() string {
	var parts []string
	for name, at := range g {
		parts = append(parts, fmt.Sprintf("%s=%d", name, at))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// goneBy returns the shards that are gone once was becomes layout.
func (c *Config) goneBy(was, layout string) gone {
	g := parseGone(c.Log.Note(goneNote))
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

// GoneBefore returns the time, ms, before which points may be in shards that are
// gone and not read; 0 if there are none.
func (s *Sink) GoneBefore() (at int64) {
	for _, when := range s.gone {
		at = max(at, when)
	}
	return at
}

// goneNotes are a sentence for each shard that is gone.
func (s *Sink) goneNotes() (notes []string) {
	for name, at := range s.gone {
		notes = append(notes, fmt.Sprintf("shard %s was taken away at %s: what it holds is not read, and tracks of before are partial; put it back, or name it in --moved-shard",
			name, time.UnixMilli(at).UTC().Format(time.RFC3339)))
	}
	slices.Sort(notes)
	return notes
}
