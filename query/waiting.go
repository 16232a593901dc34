package query

import (
	"cmp"
	"slices"

	"pingline"
	"pingline/sink/store"
)

// withWaiting adds to a page of stored points the pings that wait, if they belong on
// the page and the store does not have them by now. A page that grows beyond its limit
// is cut behind an earlier instant.
func withWaiting(p Points, waiting []pingline.Entry, q *store.Query) Points {
	waiting = slices.DeleteFunc(waiting, func(e pingline.Entry) bool { return !belongs(&e, &p, q) })
	waiting = slices.DeleteFunc(waiting, storedAmong(p.List, waiting))
	if len(waiting) == 0 {
		return p
	}
	p.List = append(p.List, waiting...)
	slices.SortStableFunc(p.List, func(a, b pingline.Entry) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Device, b.Device), compareLate(a.Late, b.Late))
	})
	end := min(q.Limit, len(p.List))
	for end < len(p.List) && p.List[end].At == p.List[end-1].At {
		end++
	}
	if end < len(p.List) {
		p.List = p.List[:end]
		p.More, p.Next, p.NextNano = true, p.List[end-1].At+1, 0
	}
	return p
}

// belongs reports whether a ping that waits is within the page p of the track that q
// asks for. It counts as a ping at the beginning of its ms.
func belongs(e *pingline.Entry, p *Points, q *store.Query) bool {
	begun := e.At > q.From || e.At == q.From && q.FromNano == 0
	ended := e.At >= q.To || p.More && (e.At > p.Next || e.At == p.Next && p.NextNano == 0)
	return begun && !ended
}

// storedAmong returns a function that reports, for a ping in waiting, whether list, the
// stored points in order of time, has a point of its track at its instant that is not late.
func storedAmong(list, waiting []pingline.Entry) func(pingline.Entry) bool {
	if len(waiting) == 0 {
		return func(pingline.Entry) bool { return false }
	}
	type corner struct {
		device string
		at     int64
	}
	since := slices.MinFunc(waiting, func(a, b pingline.Entry) int { return cmp.Compare(a.At, b.At) }).At
	stored := make(map[corner]bool)
	for i := len(list) - 1; i >= 0 && list[i].At >= since; i-- {
		if !list[i].Late {
			stored[corner{list[i].Device, list[i].At}] = true
		}
	}
	return func(e pingline.Entry) bool { return stored[corner{e.Device, e.At}] }
}

// compareLate sorts late points last.
func compareLate(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
