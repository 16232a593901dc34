package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pingline"
)

// example keeps a sentence about what is not right. Of a kind of which there is none
// yet it takes the place of one that is there several times.
func (a *audit) example(kind, who string, at int64, reason string) {
	list := a.report.Examples
	if len(list) == maxExamples {
		of := func(kind string) func(string) bool {
			return func(s string) bool { return strings.HasPrefix(s, kind+": ") }
		}
		if slices.ContainsFunc(list, of(kind)) {
			return
		}
		last, _, _ := strings.Cut(list[maxExamples-1], ": ")
		if slices.IndexFunc(list, of(last)) == maxExamples-1 {
			return
		}
		list = list[:maxExamples-1]
	}
	a.report.Examples = append(list, fmt.Sprintf("%s: %s at %d: %s", kind, who, at, reason))
}

func (id trackID) String() string {
	if id.device == "" {
		return id.rider
	}
	return id.rider + " device " + id.device
}

// auditTrack is one track's pings and points, each in order of time.
type auditTrack struct {
	*audit
	name          trackID
	pings, points []auditRecord // points that are not corrected
	vertices      []auditRecord // the points that are not late
	moved         []auditRecord // the points that are corrected
	unfound       []auditRecord // accepted pings that may be among those
	gone, stray   []auditRecord // of both, pings without a point and points without a ping
	failure       error         // of the disk that the tally is on
}

// checkAll checks each track of a part.
func (t *auditTrack) checkAll(ctx context.Context, p *part) error {
	names := make([]trackID, len(p.tracks))
	for name, i := range p.tracks {
		names[i] = name
	}
	pings, points := p.pings.byTrack(len(names)), p.points.byTrack(len(names))
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.name = name
		t.pings, t.points = pings.track(t.pings, i), points.track(t.points, i)
		t.sortOut()
		t.checkPoints()
		t.checkPings()
		t.checkMoved()
		t.countPings()
		if t.failure != nil {
			return t.failure
		}
	}
	return nil
}

// sortOut parts points by what they are good for, and puts pings where they are to be
// looked for.
func (t *auditTrack) sortOut() {
	t.vertices, t.moved, t.unfound = t.vertices[:0], t.moved[:0], t.unfound[:0]
	kept := t.points[:0]
	for _, p := range t.points {
		switch p.verdict {
		case correctedPoint:
			t.moved = append(t.moved, p)
			continue
		case latePoint:
		default:
			t.vertices = append(t.vertices, p)
		}
		kept = append(kept, p)
	}
	t.points = kept
	t.unroll()
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
		var end int
		start, end = moment(t.pings, start, p.at)
		sent := t.pings[start:end]
		if len(sent) == 0 {
			t.neverSent(p.at, "no such ping was sent")
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
			t.example("wrong", t.name.String(), p.at, difference(&sent[0], p))
		}
	}
}

// neverSent takes note of a point that is of no ping.
func (t *auditTrack) neverSent(at int64, reason string) {
	switch {
	case !t.sum.spans(at): // of before, or of later
	case at > t.sum.until-auditMargin.Milliseconds():
		t.report.Untold++
	default:
		t.report.Foreign++
		t.example("foreign", t.name.String(), at, reason)
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
				t.missAccepted(p, stored)
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

// missAccepted takes note of an accepted ping that none of the points of its moment is
// of, though each of them was sent.
func (t *auditTrack) missAccepted(p *auditRecord, stored []auditRecord) {
	switch {
	case t.collides(p, stored):
		t.report.Collided++
	case len(t.moved) > 0 && p.mayBeCorrected():
		t.unfound = append(t.unfound, *p)
		p.elsewhere = true
	default:
		t.lose(p, "accepted and not stored")
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
	if !ok || d > float64(max(p.bound, t.sum.widest))+tolerance {
		t.lose(p, "a duplicate of nothing that was acknowledged or is stored")
		return
	}
	t.report.WorstError = max(t.report.WorstError, d)
}

func (t *auditTrack) lose(p *auditRecord, reason string) {
	t.report.Lost++
	t.example("lost", t.name.String(), p.at, reason)
}

func (t *auditTrack) exceed(p *auditRecord, reason string) {
	t.report.OutOfBound++
	t.example("out of bound", t.name.String(), p.at, reason)
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
