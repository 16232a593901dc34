package ingest

import (
	"slices"

	"pingline"
)

// timeOrder says which of a request's pings is judged when: the place in the request
// is in the low orderBits of each, the time above. It is empty if they are judged
// as they stand.
type timeOrder []uint64

const orderBits = 16

// inTime returns the order of their time, those of one instant as they stand, in the
// memory of o. So each track's pings are judged in order of time: a request sent
// newest first keeps no more points than one that begins with the oldest. Between
// tracks the order does not matter. No two pings are 8,900 years apart.
func (o timeOrder) inTime(pings []pingline.Ping) timeOrder {
	o = o[:0]
	sorted := true
	for i := 1; i < len(pings) && sorted; i++ {
		sorted = pings[i].At >= pings[i-1].At
	}
	if sorted {
		return o
	}
	first := pings[0].At
	for i := range pings {
		first = min(first, pings[i].At)
	}
	o = slices.Grow(o, len(pings))
	for i := range pings {
		o = append(o, uint64(pings[i].At-first)<<orderBits|uint64(i))
	}
	slices.Sort(o)
	return o
}

// at returns the place in the request of the ping that is judged n-th, from 0.
func (o timeOrder) at(n int) int {
	if len(o) == 0 {
		return n
	}
	return int(o[n] & (1<<orderBits - 1))
}
