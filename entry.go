package pingline

import (
	"fmt"
	"strconv"
	"strings"
)

// Verdict is the fate of a ping.
type Verdict uint8

// The verdicts. Only Accepted, Held and Redundant reach the log.
const (
	Accepted  Verdict = iota + 1 // stored as it is
	Held                         // in the log; the next ping of its track decides
	Redundant                    // dropped: within its bound of the line between stored pings
	Duplicate                    // of the same track and instant as a ping judged before
	Shed                         // valid, refused to save the rest
	Rejected                     // invalid

	Verdicts = int(Rejected) + 1 // size of an array indexed by Verdict
)

var verdictNames = [Verdicts]string{"none", "accepted", "held", "redundant", "duplicate", "shed", "rejected"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// Entry is a ping in the log with all that was decided when it was judged, or a
// Point, or a ready line. A reader of the log needs nothing but the entry.
//
// A ping that a store refused, and that was put back into the log, is of kind
// Replayed: it was judged before, and is to be stored.
type Entry struct {
	Ping
	Cell     uint64  // H3 cell that becomes the tag; 0 if none
	Skipped  uint32  // pings of the track dropped since its last stored one
	SubKey   uint16  // part of the partition key, as package partition chose it; 0 if the cell is not split
	Verdict  Verdict // Accepted, Held or Redundant
	Promoted bool    // a ping held earlier, now stored (Verdict is Accepted)
	Late     bool    // stored out of order: readers do not interpolate by it
	Apart    bool    // stored beside the track's point of its ms, at a ns of its own: see Nano
	State    uint8   // number of the filter's state that took the ping

	Kind EntryKind // Judged is the zero value
	To   string    // shard of the entry; "" lets Kind decide; never set if Judged

	// Point is set in a point, which has it, Kind and To only. Next and DecodeEntry
	// reuse the memory of the Point that they left in the same Entry: Clone a Point
	// that is to outlive the call.
	Point *Point

	// Line is set in a ready line, which has it, Kind and To only: a row that the log
	// holds as text. From version 3 of a commit on, a replayed row is text only if its
	// ping is not known. It is line protocol without newline, of 1–MaxReadyLine
	// bytes; its timestamp is in ms, or in ns if Kind is ReplayedNano.
	Line string

	spare *Point // memory for the next Point decoded into this Entry
}

// Equal reports whether e and o have equal values.
func (e *Entry) Equal(o *Entry) bool {
	if (e.Point == nil) != (o.Point == nil) || e.Point != nil && !e.Point.Equal(o.Point) {
		return false
	}
	a, b := *e, *o
	a.Point, a.spare, b.Point, b.spare = nil, nil, nil, nil
	return a == b
}

// EntryKind is the origin of an entry.
type EntryKind uint8

// The kinds of entries.
const (
	Judged       EntryKind = iota // a ping with the filter's verdict
	Replayed                      // a ping that a store refused before, to be stored after all
	Activity                      // a total of the roll-up: a point, or a ready line
	Self                          // a count of the node itself: a point, or a ready line
	ReplayedNano                  // as Replayed: a ready line whose timestamp is in ns

	lineKinds = iota
)

// Replayed reports whether entries of kind k are pings that a store refused before.
func (k EntryKind) Replayed() bool { return k == Replayed || k == ReplayedNano }

// LineTime returns the time of a ready line, ms, and false if it has none.
func (e *Entry) LineTime() (ms int64, ok bool) {
	line := strings.TrimRight(e.Line, " \r")
	i := strings.LastIndexByte(line, ' ')
	at, err := strconv.ParseInt(line[i+1:], 10, 64)
	if i < 0 || err != nil {
		return 0, false
	}
	if e.Kind == ReplayedNano {
		at = FloorMilli(at)
	}
	return at, true
}

// MaxReadyLine bounds a ready line, in bytes.
const MaxReadyLine = 4 << 10

// IsLine reports whether the entry is a ready line.
func (e *Entry) IsLine() bool { return e.Line != "" }

// StoredAt returns the time of a row that is to be stored, ms: of the ping, the
// point, or the ready line. It returns false for a ready line without a time.
func (e *Entry) StoredAt() (ms int64, ok bool) {
	switch {
	case e.IsLine():
		return e.LineTime()
	case e.Point != nil:
		return e.Point.At, true
	}
	return e.At, true
}

// Stored reports whether the entry is a ping that is to be written to the store.
func (e *Entry) Stored() bool { return e.Verdict == Accepted || e.Kind.Replayed() }

// Indices into the running totals of a commit.
const (
	TotalStored = 0 // entries that are Stored, on their way to a store
	TotalPings  = 1 // pings judged accepted, held or redundant; promotions do not count
	TotalLines  = 2 // points, and ready lines that are not Stored
)
