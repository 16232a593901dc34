// Package reshard changes over which shards the rows of a set are spread, while rows are
// written.
//
// The log is cut into eras. Each era has a layout, and a sink of its own with cursors of its
// own, from the commit at which it begins to that at which it ends. So the shard of an entry is
// a function of the entry and of the era that its commit is in, whoever asks and after
// whichever crash. A cut is one change of the log's notes and cursors: it is on disk before any
// lane of the new era begins, or it never was. Both eras write beside each other until the lanes
// of the old one have come to the cut.
//
// A mirror is a further era of the same stretch, whose layout gets only what lies elsewhere in
// the layout beside it. It never endangers the rows themselves: when the log is filling up it
// gives up the oldest, and keeps a note of the days.
//
// A set whose shards were never changed has one era without a note, and does as if there was no
// such thing.
package reshard

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline/partition"
	"pingline/queue"
	"pingline/sink/route"
)

// ChangePhase is how far a change of the shards has come.
type ChangePhase string

// The phases. Readers ask the old shards and the new ones in all of them.
const (
	Settled ChangePhase = "settled" // no change is going on
	Dual    ChangePhase = "dual"    // the old layout is in force, and the new one mirrors it
	Cut     ChangePhase = "cut"     // the new layout is in force; if there was a mirror, the old one mirrors it
)

// Phases are all phases.
var Phases = []ChangePhase{Settled, Dual, Cut}

// SetRecord is the state of a set, as the log notes it.
type SetRecord struct {
	Form  int         `json:"form"`
	ID    string      `json:"id"` // of the last change
	Phase ChangePhase `json:"phase"`
	Do    string      `json:"do"` // the change in words, such as "add c"
	At    int64       `json:"at"` // when the phase began, ms
	Old   Spread      `json:"old,omitempty"`
	New   Spread      `json:"new"` // in force if Phase is Settled

	Eras []Era    `json:"eras"`           // those that are not passed completely
	Last int      `json:"last"`           // number of the last era that was begun
	Read []string `json:"read,omitempty"` // shards that may have rows which those in force lack

	LetGo   []string `json:"let_go,omitempty"`  // days of rows that a mirror gave up
	Refused uint64   `json:"refused,omitempty"` // dead letters of a mirror
	Move    *Move    `json:"move,omitempty"`    // of the last change

	// Of changes that are made in several logs.
	Ahead  []string          `json:"ahead,omitempty"`  // shards that are read, since another log may have rows there before this
	Stores map[string]string `json:"stores,omitempty"` // how to open shards that no flag names, as in --shard; it is never changed in place
}

// Era is a stretch of the log with a layout.
type Era struct {
	N      int           `json:"n"`                // 1 is the era of the flags
	Spread Spread        `json:"spread"`           // its layout
	Beside Spread        `json:"beside,omitempty"` // the layout that it mirrors
	From   queue.Cursor  `json:"from"`             // of the first commit
	End    *queue.Cursor `json:"end,omitempty"`    // behind the last commit; nil: it is open

	lines *queue.Cursor // if set, lanes of our own lines begin there; not From.Next, though From has their total
}

func (e *Era) mirror() bool { return len(e.Beside) > 0 }

// name is part of the names of cursors; that of the first is empty.
func (e *Era) name() string {
	if e.N <= 1 {
		return ""
	}
	return strconv.Itoa(e.N)
}

// space is the name under which the era's positions are kept.
func (e *Era) space(set string) string { return route.SpaceOf(set, e.name()) }

// recordForm is the form of the note.
const recordForm = 1

// parse reads a note. A form that this program does not know is an error.
func parse(note string) (*SetRecord, error) {
	r := new(SetRecord)
	if err := json.Unmarshal([]byte(note), r); err != nil {
		return nil, fmt.Errorf("the layout of the shards in the log: %w", err)
	}
	switch {
	case r.Form > recordForm:
		return nil, fmt.Errorf("the layout of the shards in the log has form %d, this program knows %d: run the newer version", r.Form, recordForm)
	case len(r.New) == 0 || !slices.Contains(Phases, r.Phase) || r.Phase != Settled && len(r.Old) == 0:
		return nil, fmt.Errorf("the layout of the shards in the log is not whole: %.200s", note)
	}
	for i := range r.Eras {
		if e := &r.Eras[i]; e.N < 1 || e.N > r.Last || len(e.Spread) == 0 {
			return nil, fmt.Errorf("the layout of the shards in the log is not whole: era %d of %d", e.N, r.Last)
		}
	}
	if _, err := partition.NewShards(r.InForce()...); err != nil {
		return nil, fmt.Errorf("the layout of the shards in the log: %w", err)
	}
	return r, nil
}

func (r *SetRecord) String() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // it has numbers and strings only
	}
	return string(b)
}

// clone returns a copy that shares nothing that changes.
func (r *SetRecord) clone() *SetRecord {
	c := *r
	c.Eras, c.Read, c.LetGo, c.Ahead = slices.Clone(r.Eras), slices.Clone(r.Read), slices.Clone(r.LetGo), slices.Clone(r.Ahead)
	return &c
}

// InForce is the layout by which rows are spread now.
func (r *SetRecord) InForce() Spread {
	if r.Phase == Dual {
		return r.Old
	}
	return r.New
}

// needs returns the shards that must be known: those of all eras, and of both layouts.
func (r *SetRecord) needs() (names []string) {
	add := func(s Spread) {
		for _, name := range s.Names() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	add(r.New)
	add(r.Old)
	for _, e := range r.Eras {
		add(e.Spread)
		add(e.Beside)
	}
	return names
}

// open returns the era of a role that has no end, and nil if there is none.
func (r *SetRecord) open(mirror bool) *Era {
	for i := range r.Eras {
		if e := &r.Eras[i]; e.mirror() == mirror && e.End == nil {
			return e
		}
	}
	return nil
}

// era returns the era of a number, nil if there is none.
func (r *SetRecord) era(n int) *Era {
	if i := slices.IndexFunc(r.Eras, func(era Era) bool { return era.N == n }); i >= 0 {
		return &r.Eras[i]
	}
	return nil
}

// begin adds an era and returns it.
func (r *SetRecord) begin(spread, beside Spread, from queue.Cursor) *Era {
	r.Last++
	r.Eras = append(r.Eras, Era{N: r.Last, Spread: spread, Beside: beside, From: from})
	return &r.Eras[len(r.Eras)-1]
}

// settle ends a change: a layout is in force, and alone.
func (r *SetRecord) settle(inForce Spread) {
	r.New, r.Old, r.LetGo, r.Refused = inForce, nil, nil, 0
	r.Read = without(r.Read, inForce.Names())
	r.enter(Settled)
}

func (r *SetRecord) enter(p ChangePhase) { r.Phase, r.At = p, time.Now().UnixMilli() }

// tells reports whether the lacks of a mirror are told of: not those of an earlier change.
func (r *SetRecord) tells(n int) bool {
	return r.Phase != Dual || slices.ContainsFunc(r.Eras, func(era Era) bool { return era.N == n && era.End == nil })
}

// lacks has the shards read that may have rows which a mirror lacks.
func (r *SetRecord) lacks(era Era) {
	r.Read = addNames(r.Read, without(era.Beside.Names(), era.Spread.Names())...)
}

// knows reports whether it is noted that a mirror gave up rows of a day.
func (r *SetRecord) knows(era Era, day string) bool {
	lacks := without(era.Beside.Names(), era.Spread.Names())
	return len(without(lacks, r.Read)) == 0 && (!r.tells(era.N) || slices.Contains(r.LetGo, day))
}

// Number returns the number of a change's ID, 0 for none.
func Number(id string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(id, "r-"))
	if err != nil {
		return 0
	}
	return n
}
