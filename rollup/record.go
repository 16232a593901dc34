package rollup

import (
	"encoding/json"
	"fmt"

	"pingline/queue"
)

// Cursor is the name of the roll-up's cursor in the log, and of the note that
// belongs to it. The commits that the cursor holds back have been read, for
// the most part: see Unread.
const Cursor = "rollup"

// closedWindows is the record that a restart needs beside the cursor. From the
// cursor on, the restart counts open windows again; the record tells which windows
// were already written whole and are closed, so that their pings in the log are
// left out, and the clock, so that the same pings are late. It is written together
// with the cursor, and moves only when the lines of the closed windows are durable.
type closedWindows struct {
	Counts string  `json:"counts"` // windows and lateness: the record is valid only for the same
	Clock  int64   `json:"clock"`  // before the cursor, ms
	Read   uint64  `json:"read"`   // commits before it were read
	Shut   []int64 `json:"shut"`   // by level: windows that end by then are closed, ms
}

func (r *Rollup) counts() string { return fmt.Sprint(r.cfg.Windows, r.cfg.Lateness) }

// load goes on where the record stands. Without a valid record it begins at the
// start of the log, or, if there was a cursor with another configuration, at
// the end of the log: a window that began before is then left out, as some of
// its pings are missing.
func (r *Rollup) load() {
	log := r.cfg.Log
	r.last = log.Last()
	at, ok := log.Cursor(Cursor)
	note := log.Note(Cursor)
	err := json.Unmarshal([]byte(note), &r.record)
	switch rec := &r.record; {
	case ok && err == nil && rec.Counts == r.counts() && len(rec.Shut) == len(r.lengths):
		r.next, r.clock, r.began = at, rec.Clock, rec.Read
	default:
		r.record = closedWindows{Counts: r.counts(), Shut: make([]int64, len(r.lengths))}
		for i := range r.record.Shut {
			r.record.Shut[i] = endless
		}
		r.next = queue.Cursor{Next: log.First()}
		if ok {
			r.next = log.Head()
		}
	}
	r.fresh = r.clock == 0 && r.next.Next > 1
	r.marks = []position{{r.next, r.clock}}
	r.keep()
}

// Forget makes the log forget a Rollup, so that the log no longer keeps
// commits for it.
func Forget(log *queue.Log) {
	log.Change(queue.Change{Drop: []string{Cursor}, Notes: map[string]string{Cursor: ""}})
}

// origin returns where a restart must begin so that it counts all open windows
// and, unless cold, has read enough earlier pings to know the tracks.
func (r *Rollup) origin(cold bool) position {
	at := r.marks[0]
	if cold {
		at = position{r.next, r.clock}
	}
	for _, list := range r.windows {
		for _, w := range list {
			from := &w.warm
			if cold {
				from = &w.first
			}
			if !w.mute && from.Next < at.Next {
				at = *from
			}
		}
	}
	return at
}

// holds returns how many bytes of the log are held back for readers that begin
// at a position.
func (r *Rollup) holds(at position) int64 {
	return r.cfg.Log.BytesSince(at.Next) - r.cfg.Log.BytesSince(r.next.Next)
}

// keep brings the record and the cursor up to date.
func (r *Rollup) keep() {
	at := r.origin(false)
	if r.holds(at) > r.cfg.Log.Limit()/8 {
		at = r.origin(true)
	}
	r.record.Clock, r.record.Read = at.clock, max(r.record.Read, r.next.Next)
	note, err := json.Marshal(&r.record)
	if err != nil {
		panic(err) // cannot happen: the record has only numbers and a string
	}
	if was, ok := r.cfg.Log.Cursor(Cursor); ok && was == at.Cursor && r.cfg.Log.Note(Cursor) == string(note) {
		return // an equal change would be written all the same
	}
	r.cfg.Log.Change(queue.Change{Set: map[string]queue.Cursor{Cursor: at.Cursor}, Notes: map[string]string{Cursor: string(note)}})
}

// begin is called with the first commit if the log has lost its beginning:
// windows that had begun by then may lack pings, and none of them is counted.
func (r *Rollup) begin(at int64) {
	r.fresh = false
	for i, length := range r.lengths {
		r.record.Shut[i] = floor(at+r.cfg.MaxAhead.Milliseconds(), length) + length
	}
	r.missed = r.record.Shut[0]
}
