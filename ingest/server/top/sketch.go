package top

import (
	"cmp"
	"slices"
)

// kept is how many names a sketch has room for.
const kept = 32

// sketch counts the names that come most often, by the space-saving algorithm
// (Metwally, Agrawal, El Abbadi, 2005): of many names the one with the lowest count
// makes room for a new one, which takes its count over. A name with more than 1/32 of
// all is never missed.
type sketch[K comparable] struct {
	all   int // of every name
	names [kept]counted[K]
}

type counted[K comparable] struct {
	name  K
	count int
	over  int // of count, as much as may be another's
}

// sure is how much is the name's own, at least.
func (c *counted[K]) sure() int { return c.count - c.over }

// add counts n for name. Keep makes of it a name that may be kept.
func (s *sketch[K]) add(name K, n int, keep func(K) K) {
	s.all += n
	least := &s.names[0]
	for i := range s.names {
		c := &s.names[i]
		if c.count > 0 && c.name == name {
			c.count += n
			return
		}
		if c.count < least.count {
			least = c
		}
	}
	*least = counted[K]{name: keep(name), count: least.count + n, over: least.count}
}

// most returns the names with the highest counts of all sketches together, the highest
// first, and what is counted of every name.
func most[K comparable](n int, sketches ...*sketch[K]) (list []counted[K], all int) {
	sums := make(map[K]counted[K])
	for _, s := range sketches {
		all += s.all
		for i := range s.names {
			if c := &s.names[i]; c.count > 0 {
				sum := sums[c.name]
				sums[c.name] = counted[K]{c.name, sum.count + c.count, sum.over + c.over}
			}
		}
	}
	for _, c := range sums {
		if c.sure() > 0 {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b counted[K]) int { return cmp.Compare(b.sure(), a.sure()) })
	return list[:min(n, len(list))], all
}
