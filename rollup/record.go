package rollup

import (
	"encoding/json"
	"fmt"

	"pingline/queue"
)

// Cursor is the name of our cursor in the log, and of the note that belongs to
// it. What it holds back has been read, for the most part: see Unread.
const Cursor = "rollup"

// closedWindows is what a restart must know beside the cursor, from which it counts
// again what was open: which windows were written whole then and are closed, so
// that what the log still holds of them is left out, and the clock, so that the
// same pings are late. It is kept in one write with the cursor, and moves only
// when the lines of what it closes are durable.
type closedWindows struct {
	Counts string  `json:"counts"` // windows and lateness: it means nothing to who counts others
	Clock  int64   `json:"clock"`  // before the cursor, ms
	Read   uint64  `json:"read"`   // commits before it were read
	Shut   []int64 `json:"shut"`   // by level: windows that end by then are closed, ms
}

func (r *Rollup) counts() string { return fmt.Sprint(r.cfg.Windows, r.cfg.Lateness) }

// load goes on where the record stands; without one that fits, at the beginning
// of the log, or at its end if windows were written that are not counted as we
// do: a window that began before is then left out, as some of its pings are
// missing.
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

// Forget makes the log forget a Rollup, so that it no longer keeps what that
// has not read.
func Forget(log *queue.Log) {
	log.Change(queue.Change{Drop: []string{Cursor}, Notes: map[string]string{Cursor: ""}})
}

// origin returns where a restart must begin so that it counts all that is open,
// and without cold, so that it knows of the pings before that what it must.
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

// holds returns how much of the log is held back for those who read from a
// position.
func (r *Rollup) holds(at position) int64 {
	return r.cfg.Log.BytesSince(at.Next) - r.cfg.Log.BytesSince(r.next.Next)
}

// keep brings the record up to date.
func (r *Rollup) keep() {
	at := r.origin(false)
	if r.holds(at) > r.cfg.Log.Limit()/8 {
		at = r.origin(true)
	}
	r.record.Clock, r.record.Read = at.clock, max(r.record.Read, r.next.Next)
	note, err := json.Marshal(&r.record)
	if err != nil {
		panic(err) // it is made of numbers
	}
	if was, ok := r.cfg.Log.Cursor(Cursor); ok && was == at.Cursor && r.cfg.Log.Note(Cursor) == string(note) {
		return // a change is written though it changes nothing
	}
	r.cfg.Log.Change(queue.Change{Set: map[string]queue.Cursor{Cursor: at.Cursor}, Notes: map[string]string{Cursor: string(note)}})
}

// begin is called with the first commit if windows may have pings that we do not
// see: none that had begun by then is counted.
func (r *Rollup) begin(at int64) {
	r.fresh = false
	for i, length := range r.lengths {
		r.record.Shut[i] = floor(at+r.cfg.MaxAhead.Milliseconds(), length) + length
	}
	r.missed = r.record.Shut[0]
}
