package audit

import (
	"cmp"
	"slices"

	"pingline/sink/store"
)

// times are the times at which there is something, by hour. Its zero value has none.
type times struct {
	hours map[int64]*stretch
	hour  int64
	at    *stretch // of hour; nil at first
}

// stretch is from the first to the last of some times.
type stretch struct{ first, last int64 }

func (t *times) add(at int64) {
	at = min(max(at, firstMilli), lastMilli)
	hour := at / hourMilli
	if t.at == nil || hour != t.hour {
		if t.hours == nil {
			t.hours = make(map[int64]*stretch)
		}
		s, ok := t.hours[hour]
		if !ok {
			s = &stretch{at, at}
			t.hours[hour] = s
		}
		t.hour, t.at = hour, s
	}
	t.at.first, t.at.last = min(t.at.first, at), max(t.at.last, at)
}

// The times that a store is asked for, ms: the years 1700 to 2200. A ping of another
// time is stored by nobody.
const (
	firstMilli = -8_520_336_000_000
	lastMilli  = 7_258_118_400_000
)

// mostQueries is how many queries a store is asked, about.
const mostQueries = 64

// queries returns what covers all times, and a margin before and after each: few
// queries, that have little else in them.
func (t *times) queries(margin int64) (list []store.Query) {
	var all []stretch
	for _, s := range t.hours {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Compare(a.first, b.first) })
	for gap := int64(0); ; gap = max(4*gap, hourMilli) {
		list = list[:0]
		for _, s := range all {
			from, to := s.first-margin, s.last+1+margin
			if n := len(list); n > 0 && from-list[n-1].To <= gap {
				list[n-1].To = max(list[n-1].To, to)
			} else {
				list = append(list, store.Query{From: from, To: to})
			}
		}
		if len(list) <= mostQueries {
			return list
		}
	}
}
