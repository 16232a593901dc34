package top

import (
	"cmp"
	"slices"
)

// kept is the number of names that a sketch has room for.
const kept = 32

// sketch counts the names that come most often, by the space-saving algorithm
// (Metwally, Agrawal, El Abbadi, 2005): when it is full, a new name replaces the name
// with the lowest count and takes over that count. A name with more than 1/32 of all is
// never missed.
type sketch[K comparable] struct {
	all   int // count of all names together
	names [kept]counted[K]
}

type counted[K comparable] struct {
	name  K
	count int
	over  int // the part of count that other names may have
}

// sure returns the least that the name's own count can be.
func (c *counted[K]) sure() int { return c.count - c.over }

// add counts n for name. Keep returns a copy of a name that the sketch may keep.
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
// first, and the count of all names together.
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
