package audit

import (
	"cmp"
	"math"
	"slices"

	"pingline"
)

// rollover is after how long a GPS receiver's count of weeks begins anew, ms.
const rollover = 1024 * 7 * dayMilli

// unrolled returns at, moved by as many rollovers as bring it nearest to another time.
func unrolled(at, to int64) int64 {
	turns := math.Round(float64(to-at) / rollover)
	return at + int64(turns)*rollover
}

// unroll moves acknowledged pings by whole rollovers to their answers, unless there
// are points of their own time.
func (t *auditTrack) unroll() {
	moved, point := false, 0
	for i := range t.pings {
		p := &t.pings[i]
		if p.answered == 0 || p.verdict == 0 || p.verdict > pingline.Duplicate {
			continue
		}
		to := unrolled(p.at, int64(p.answered)*1000)
		if to == p.at {
			continue
		}
		var end int
		if point, end = moment(t.points, point, p.at); point == end {
			p.at, moved = to, true
		}
	}
	if moved {
		slices.SortStableFunc(t.pings, func(a, b auditRecord) int { return cmp.Compare(a.at, b.at) })
	}
}

// mayBeCorrected reports whether the time of a ping may have been taken for wrong. If
// it is not known when the answer came, it may.
func (r *auditRecord) mayBeCorrected() bool {
	came := int64(r.answered) * 1000
	return r.answered == 0 || r.at >= came+1000 || r.at < came-hourMilli
}

// compareContent orders records by all that is stored of them but their time.
func compareContent(a, b *auditRecord) int {
	return cmp.Or(cmp.Compare(a.lat, b.lat), cmp.Compare(a.lon, b.lon), cmp.Compare(a.event, b.event),
		cmp.Compare(a.known, b.known), slices.Compare(a.numbers[:], b.numbers[:]))
}

// checkMoved holds points whose time was corrected against accepted pings that are not
// stored at their own time. Of a ping and a point that are both left over the point may
// be the ping's, and is told as wrong.
func (t *auditTrack) checkMoved() {
	if len(t.moved)+len(t.unfound) == 0 {
		return
	}
	slices.SortStableFunc(t.unfound, func(a, b auditRecord) int { return cmp.Or(compareContent(&a, &b), cmp.Compare(a.at, b.at)) })
	slices.SortStableFunc(t.moved, func(a, b auditRecord) int { return compareContent(&a, &b) })
	t.gone, t.stray = t.gone[:0], t.stray[:0]
	pings, points := t.unfound, t.moved
	for len(pings) > 0 || len(points) > 0 {
		n, m := 0, 0
		if order := compareFirst(pings, points); order <= 0 {
			n = sameContent(pings)
			if order == 0 {
				m = sameContent(points)
			}
			t.matchMoved(pings[:n], points[:m])
		} else {
			m = sameContent(points)
			t.strayMoved(points[:m])
		}
		pings, points = pings[n:], points[m:]
	}
	for i := range t.gone {
		if i < len(t.stray) {
			t.report.Wrong++
			t.report.Stored++
			t.example("wrong", t.name.String(), t.gone[i].at, "its time was corrected; "+difference(&t.gone[i], &t.stray[i]))
			continue
		}
		t.lose(&t.gone[i], "accepted and not stored, nor at another time")
	}
	for i := len(t.gone); i < len(t.stray); i++ {
		t.neverSent(t.stray[i].at, "its time was corrected, and no ping like it was sent")
	}
}

// compareFirst compares the content of the first of each; none is behind all.
func compareFirst(a, b []auditRecord) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return compareContent(&a[0], &b[0])
}

// sameContent returns how many records, from the first on, have its content.
func sameContent(list []auditRecord) int {
	n := 1
	for n < len(list) && compareContent(&list[0], &list[n]) == 0 {
		n++
	}
	return n
}

// matchMoved gives pings of one content, in order of their time, the corrected points
// of that content. Copies of a ping need one point, and have all that are left over.
func (t *auditTrack) matchMoved(pings, points []auditRecord) {
	t.countMoved(len(points))
	for len(pings) > 0 {
		n := 1
		for n < len(pings) && pings[n].at == pings[0].at {
			n++
		}
		copies := pings[:n]
		pings = pings[n:]
		if len(points) == 0 {
			t.gone = append(t.gone, copies...)
			t.count(&copies[0], copies[0].at, 0, n)
			continue
		}
		mine := points[:1]
		if len(pings) == 0 {
			mine = points
		}
		points = points[len(mine):]
		for i := range mine {
			least := n
			if len(mine) > 1 {
				least = 1
			}
			t.count(&copies[0], mine[i].at, least, n)
		}
	}
}

// strayMoved looks at corrected points whose content no accepted ping has that is not
// stored otherwise.
func (t *auditTrack) strayMoved(points []auditRecord) {
	like := func(p *auditRecord) bool {
		return compareContent(p, &points[0]) == 0 && (p.verdict == 0 || p.verdict == pingline.Accepted)
	}
	if i := slices.IndexFunc(t.pings, func(p auditRecord) bool { return like(&p) }); i >= 0 {
		t.countMoved(len(points))
		for j := range points {
			t.count(&t.pings[i], points[j].at, 1, len(t.pings))
		}
		return
	}
	t.stray = append(t.stray, points...)
}

func (t *auditTrack) countMoved(points int) {
	t.report.Stored += uint64(points)
	t.report.Corrected += uint64(points)
}

// collides reports whether the point of p has the ns of another's that is there.
func (t *auditTrack) collides(p *auditRecord, stored []auditRecord) bool {
	return contains(stored, func(q *auditRecord) bool { return !q.samePing(p) && t.nano(q) == t.nano(p) })
}

// nano returns the ns at which a record is stored if it is apart.
func (t *auditTrack) nano(r *auditRecord) int64 {
	e := pingline.Entry{Apart: true}
	e.LatE7, e.LonE7, e.Event = r.lat, r.lon, t.sum.events.name(r.event)
	return e.Nano()
}
