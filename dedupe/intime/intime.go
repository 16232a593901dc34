// Package intime puts the pings of a request in order of time.
package intime

import (
	"math/bits"
	"slices"

	"pingline"
)

// TimeOrder is the order in which a request's pings are judged. Each element has the
// place in the request in its low orderBits, and the time above. It is empty if the
// pings are judged in the order of the request.
type TimeOrder []uint64

const orderBits = 16

// InTime returns the pings' order of time, and within an instant the order of the
// request, in the memory of o. So each track's pings are judged in order of time, and a
// request sent newest first keeps no more points than if sent oldest first. Between
// tracks the order does not matter. The time fits because no two pings are 8,900 years
// apart.
func (o TimeOrder) InTime(pings []pingline.Ping) TimeOrder {
	o = o[:0]
	sorted := true
	for i := 1; i < len(pings) && sorted; i++ {
		sorted = pings[i].At >= pings[i-1].At
	}
	if sorted {
		return o
	}
	first, last := pings[0].At, pings[0].At
	for i := range pings {
		first, last = min(first, pings[i].At), max(last, pings[i].At)
	}
	n := len(pings)
	o = slices.Grow(o, 2*n)
	for i := range pings {
		o = append(o, uint64(pings[i].At-first)<<orderBits|uint64(i))
	}
	if n < fewPings {
		slices.Sort(o)
		return o
	}
	return append(o[:0], o.radixSort(o[n:2*n], bits.Len64(uint64(last-first)))...)
}

// fewPings are sorted as fast by comparing.
const fewPings = 64

// radixSort sorts o by the lowest timeBits of its times, eight bits at a time, the lowest first.
// It takes as long for any order, where comparisons are guessed wrong half of the
// time. The result is in o's memory or in that of spare, which is as long.
func (o TimeOrder) radixSort(spare TimeOrder, timeBits int) TimeOrder {
	for shift := orderBits; shift < orderBits+timeBits; shift += 8 {
		var next [256]uint32 // place of the next entry with these eight bits
		for _, v := range o {
			next[uint8(v>>shift)]++
		}
		sum := uint32(0)
		for digit, n := range next {
			next[digit], sum = sum, sum+n
		}
		for _, v := range o {
			digit := uint8(v >> shift)
			spare[next[digit]] = v
			next[digit]++
		}
		o, spare = spare, o
	}
	return o
}

// At returns the place in the request of the ping that is judged n-th, from 0.
func (o TimeOrder) At(n int) int {
	if len(o) == 0 {
		return n
	}
	return int(o[n] & (1<<orderBits - 1))
}
