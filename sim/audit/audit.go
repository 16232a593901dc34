// Package audit remembers the answers to pings in a Ledger, and holds them against
// the points that are stored.
//
// It promises to find each ping that was acknowledged and is not there, within its
// bound. It needs no more than a reader of the store, and shares no code with the
// ingester, so that the two cannot be wrong together.
package audit

import (
	"context"
	"fmt"
	"pingline/sink/store"
	"time"

	"pingline"
)

// ReadPoints calls each for every stored point that q selects, in any order and
// until each fails; the entry is good for one call. Points of a store.Reader is
// one.
type ReadPoints func(ctx context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error

// Report is what an audit found.
type Report struct {
	Sent       uint64 `json:"sent"` // pings in the ledger, by what was answered:
	Accepted   uint64 `json:"accepted"`
	Held       uint64 `json:"held"`
	Redundant  uint64 `json:"redundant"`
	Duplicate  uint64 `json:"duplicate"`
	Shed       uint64 `json:"shed"`
	Rejected   uint64 `json:"rejected"`
	Unanswered uint64 `json:"unanswered"`

	Written    uint64  `json:"written"`      // left to the caller: points the sink wrote
	Stored     uint64  `json:"stored"`       // pings found in the store
	Kept       float64 `json:"kept"`         // stored ÷ sent
	Lost       uint64  `json:"lost"`         // accepted and not stored; duplicates of nothing
	Wrong      uint64  `json:"wrong"`        // points that say something else than what was sent
	OutOfBound uint64  `json:"out_of_bound"` // held or redundant, and neither stored nor within the bound
	Foreign    uint64  `json:"foreign"`      // points of these tracks that were never sent
	Others     uint64  `json:"others"`       // points of tracks that are not in the ledger: others send as well
	WorstError float64 `json:"worst_error"`  // metres, of a ping that is not stored

	Examples []string `json:"examples,omitempty"` // of what is not right, at most 10
}

// Err returns nil if all that was acknowledged was found and nothing else, or
// an error that says what was not.
func (r Report) Err() error {
	if r.Lost+r.Wrong+r.OutOfBound+r.Foreign == 0 {
		return nil
	}
	err := fmt.Errorf("audit of %d pings: %d lost, %d wrong, %d out of bound, %d foreign",
		r.Sent, r.Lost, r.Wrong, r.OutOfBound, r.Foreign)
	if len(r.Examples) > 0 {
		err = fmt.Errorf("%w; such as %s", err, r.Examples[0])
	}
	return err
}

const (
	maxExamples = 10
	// A ping's neighbours may have been sent before the ledger was begun.
	auditMargin = time.Hour
	// What arithmetic may add to an error, metres.
	tolerance = 0.001
)

// Check holds the acknowledged pings against the stored points:
//
//   - Every point of the ledger's tracks stored within its time was sent, and
//     says what was sent: position, numbers, event.
//   - Every accepted ping is stored: an event as a point that has it, any other
//     ping as one of its position. A point of its moment that is wrong may be its
//     own, and is told as that.
//   - Every held or redundant ping is stored, or lies within its bound of the
//     straight line, linear in time, between the track's stored points before
//     and after it that are not late.
//   - Every duplicate was acknowledged before, by an answer to this ledger or
//     by one that was lost: then it is stored, or within the widest bound of
//     any answer.
//
// The ledger must be complete and the store at rest; both are held in memory together, 48 bytes a
// point. The error is the source's, or ctx's.
func Check(ctx context.Context, l *Ledger, points ReadPoints) (Report, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := audit{Ledger: l}
	a.first, a.last = l.pings.span()
	v := &l.verdicts
	a.report = Report{
		Sent: uint64(l.pings.len()), Unanswered: v[0],
		Accepted: v[pingline.Accepted], Held: v[pingline.Held], Redundant: v[pingline.Redundant],
		Duplicate: v[pingline.Duplicate], Shed: v[pingline.Shed], Rejected: v[pingline.Rejected],
	}
	if a.report.Sent == 0 {
		return a.report, nil
	}
	if err := a.read(ctx, points); err != nil {
		return Report{}, fmt.Errorf("audit %d pings: %w", a.report.Sent, err)
	}
	if err := a.compare(ctx); err != nil {
		return Report{}, fmt.Errorf("audit %d pings: %w", a.report.Sent, err)
	}
	a.report.Kept = float64(a.report.Stored) / float64(a.report.Sent)
	return a.report, nil
}

type audit struct {
	*Ledger
	first, last int64 // ts of the ledger
	stored      records
	report      Report
}

// read takes in the points of the ledger's tracks and counts those of others.
func (a *audit) read(ctx context.Context, points ReadPoints) error {
	margin := auditMargin.Milliseconds()
	span := store.Query{From: a.first - margin, To: a.last + 1 + margin}
	return points(ctx, span, func(e *pingline.Entry, _ int64) error {
		track, ok := a.tracks[trackID{e.Rider, e.Device}]
		if !ok {
			if e.At >= a.first && e.At <= a.last {
				a.report.Others++
			}
			return nil
		}
		p := a.recordOf(&e.Ping)
		p.track = track
		if e.Late {
			p.verdict = latePoint
		}
		a.stored.add(p)
		return nil
	})
}

func (a *audit) compare(ctx context.Context) error {
	names := make([]trackID, len(a.tracks))
	for name, i := range a.tracks {
		names[i] = name
	}
	pings, points := a.pings.byTrack(len(names)), a.stored.byTrack(len(names))
	t := auditTrack{audit: a}
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.name = name
		t.pings, t.points = pings.track(t.pings, i), points.track(t.points, i)
		t.vertices = t.vertices[:0]
		for _, p := range t.points {
			if p.verdict != latePoint {
				t.vertices = append(t.vertices, p)
			}
		}
		t.checkPoints()
		t.checkPings()
	}
	return nil
}

func (a *audit) example(kind string, name trackID, at int64, reason string) {
	if len(a.report.Examples) == maxExamples {
		return
	}
	who := name.rider
	if name.device != "" {
		who += " device " + name.device
	}
	a.report.Examples = append(a.report.Examples, fmt.Sprintf("%s: %s at %d: %s", kind, who, at, reason))
}

// auditTrack is one track's pings and points, each in order of time.
type auditTrack struct {
	*audit
	name          trackID
	pings, points []auditRecord
	vertices      []auditRecord // the points that are not late
}

// moment returns where the records of one time start and end, at or after i.
func moment(r []auditRecord, i int, at int64) (start, end int) {
	for i < len(r) && r[i].at < at {
		i++
	}
	start = i
	for i < len(r) && r[i].at == at {
		i++
	}
	return start, i
}

// checkPoints finds points that were not sent, or otherwise.
func (t *auditTrack) checkPoints() {
	start, first := 0, 0
	for i := range t.points {
		p := &t.points[i]
		if p.at < t.first || p.at > t.last {
			continue
		}
		var end int
		start, end = moment(t.pings, start, p.at)
		sent := t.pings[start:end]
		if len(sent) == 0 {
			t.report.Foreign++
			t.example("foreign", t.name, p.at, "no such ping was sent")
			continue
		}
		if i == 0 || t.points[i-1].at != p.at {
			first = i
		}
		if !contains(t.points[first:i], p.samePing) {
			t.report.Stored++
		}
		if !contains(sent, p.same) {
			t.report.Wrong++
			t.example("wrong", t.name, p.at, difference(&sent[0], p))
		}
	}
}

// checkPings finds pings that are neither stored nor covered.
func (t *auditTrack) checkPings() {
	var ping, point, vertex, pingEnd, pointEnd int
	for i := range t.pings {
		p := &t.pings[i]
		ping, pingEnd = moment(t.pings, ping, p.at)
		point, pointEnd = moment(t.points, point, p.at)
		vertex, _ = moment(t.vertices, vertex, p.at)
		stored := t.points[point:pointEnd]
		switch p.verdict {
		case pingline.Accepted:
			if !contains(stored, p.storedAs) && !t.anyWrong(stored, t.pings[ping:pingEnd]) {
				t.lose(p, "accepted and not stored")
			}
		case pingline.Held, pingline.Redundant:
			if !contains(stored, p.samePlace) {
				t.checkBound(p, vertex)
			}
		case pingline.Duplicate:
			if !contains(stored, p.samePlace) && !contains(t.pings[ping:pingEnd], p.acknowledgedBy) {
				t.checkDuplicate(p, vertex)
			}
		}
	}
}

// anyWrong reports whether any of the points of a moment was not sent as it is.
func (t *auditTrack) anyWrong(stored, sent []auditRecord) bool {
	return contains(stored, func(p *auditRecord) bool { return !contains(sent, p.same) })
}

func contains(list []auditRecord, is func(*auditRecord) bool) bool {
	for i := range list {
		if is(&list[i]) {
			return true
		}
	}
	return false
}

// acknowledgedBy reports whether q was answered such that r is a duplicate.
func (r *auditRecord) acknowledgedBy(q *auditRecord) bool {
	v := q.verdict
	return r.samePlace(q) && (v == pingline.Accepted || v == pingline.Held || v == pingline.Redundant)
}

// checkBound holds a dropped ping against the line between its neighbours;
// next is the first vertex at or after it.
func (t *auditTrack) checkBound(p *auditRecord, next int) {
	d, ok := t.distance(p, next)
	if !ok {
		t.exceed(p, fmt.Sprintf("%v and not stored, nor a point before and after it", p.verdict))
		return
	}
	t.report.WorstError = max(t.report.WorstError, d)
	if d > float64(p.bound)+tolerance {
		t.exceed(p, fmt.Sprintf("%v with a bound of %g m, and %.3f m off", p.verdict, p.bound, d))
	}
}

func (t *auditTrack) checkDuplicate(p *auditRecord, next int) {
	d, ok := t.distance(p, next)
	if !ok || d > float64(max(p.bound, t.widest))+tolerance {
		t.lose(p, "a duplicate of nothing that was acknowledged or is stored")
		return
	}
	t.report.WorstError = max(t.report.WorstError, d)
}

func (t *auditTrack) lose(p *auditRecord, reason string) {
	t.report.Lost++
	t.example("lost", t.name, p.at, reason)
}

func (t *auditTrack) exceed(p *auditRecord, reason string) {
	t.report.OutOfBound++
	t.example("out of bound", t.name, p.at, reason)
}

// distance returns how far p is from where a reader of the stored points takes
// it to be, in metres, and false if there is none before or after it. Vertex
// next is the first at or after p.
func (t *auditTrack) distance(p *auditRecord, next int) (float64, bool) {
	switch {
	case next == len(t.vertices):
		return 0, false
	case t.vertices[next].at == p.at:
		return between(p, &t.vertices[next], &t.vertices[next]), true
	case next == 0:
		return 0, false
	}
	return between(p, &t.vertices[next-1], &t.vertices[next]), true
}

// difference says what of a ping is stored otherwise.
func difference(sent, stored *auditRecord) string {
	switch {
	case !sent.samePlace(stored):
		return fmt.Sprintf("sent at %d,%d and stored at %d,%d (1e-7 degree)", sent.lat, sent.lon, stored.lat, stored.lon)
	case sent.known != stored.known || sent.numbers != stored.numbers:
		return fmt.Sprintf("sent with %v (known %05b) and stored with %v (known %05b)", sent.numbers, sent.known, stored.numbers, stored.known)
	}
	return fmt.Sprintf("sent with event number %d and stored with %d", sent.event, stored.event)
}
