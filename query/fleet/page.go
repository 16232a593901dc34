package fleet

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/partition"
)

// ErrCursor is the refusal of a cursor that names no page any more.
var ErrCursor = errors.New("the cursor is none of ours, or from before a restart: begin without it")

// InBox asks for the newest pings of riders in a box.
type InBox struct {
	partition.Box        // valid
	Since         int64  // of this time or later, ms since 1970
	Cursor        string // Page.Next of the page before, "" for the first page
	Limit         int    // most pings of a page
}

// Riders is a page of the newest pings of riders: one for each device of a rider, in an
// order that is of no meaning, each track on one page at most.
type Riders struct {
	List []pingline.Entry // of a ping that was stored before a restart only names, time and position are known
	Next string           // cursor of the next page; "" on the last page
	At   int64            // ms since 1970, when the page was made

	Partial bool // riders of other nodes are missing, or are told of as they were
}

// Stale reports whether an entry of the page is older than StaleAfter.
func (p *Riders) Stale(e *pingline.Entry) bool { return p.Age(e) > StaleAfter }

// Age returns how old an entry of the page is, at least 0.
func (p *Riders) Age(e *pingline.Entry) time.Duration {
	return time.Duration(max(0, p.At-e.At)) * time.Millisecond
}

// scanShare is the part of all tracks beyond which the tracks of a box are found faster by
// looking at all of them in order.
const scanShare = 16

// Riders returns a page of a snapshot no older than a second. A rider who moves into the
// box or out of it between two pages may be left out. An error is ErrCursor, or wraps
// ingest.ErrUnavailable.
func (f *Map) Riders(q *InBox) (Riders, error) {
	if err := f.Refresh(Look{Riders: true, Res: -1}); err != nil {
		return Riders{}, err
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	track, err := f.trackOf(q.Cursor)
	if err != nil {
		return Riders{}, err
	}
	p := Riders{At: time.Now().UnixMilli(), Partial: f.partial}
	for i := range f.tracks(q, track) {
		r := f.rows.At(i)
		if !r.known || r.fix.At < q.Since || !q.Contains(r.fix.Lat(), r.fix.Lon()) {
			continue
		}
		if len(p.List) == q.Limit {
			p.Next = f.cursor(track)
			break
		}
		track = i
		e := pingline.Entry{Verdict: pingline.Accepted}
		e.Rider, e.Device = dedupe.RiderDevice(*f.names.At(i))
		e.Fix = r.fix
		p.List = append(p.List, e)
	}
	return p, nil
}

// tracks returns tracks behind a track, in order; among them are all in the box.
func (f *Map) tracks(q *InBox, track uint32) func(func(uint32) bool) {
	v := ViewportOf(q.Box, 0)
	few := int(f.rows.Last / scanShare)
	if list := f.grid.gather(nil, &v, 0, true, few+1); len(list) <= few {
		slices.Sort(list)
		from, _ := slices.BinarySearch(list, track+1)
		return slices.Values(list[from:])
	}
	return func(yield func(uint32) bool) {
		for i := track + 1; i <= f.rows.Last && yield(i); i++ {
		}
	}
}

// trackOf returns the track that a cursor names, 0 for no cursor.
func (f *Map) trackOf(cursor string) (uint32, error) {
	if cursor == "" {
		return 0, nil
	}
	start, text, _ := strings.Cut(cursor, ".")
	track, err := strconv.ParseUint(text, 36, 32)
	if err != nil || start != strconv.FormatUint(f.paging, 36) {
		return 0, ErrCursor
	}
	return uint32(track), nil
}
