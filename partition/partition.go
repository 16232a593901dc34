// Package partition decides where a ping belongs: the H3 cell that is its tag,
// and the shard that stores it.
//
// Cells are a function of the position and the configured resolution alone,
// shards of the entry and the configured shards alone, so that every reader of
// the log routes an entry alike whenever it reads it. Adding a shard to n moves
// about 1/(n+1) of the keys and nothing else. The package keeps no state.
package partition

import (
	"fmt"
	"math/bits"

	"pingline"
)

// Shard is one place that pings are stored in.
type Shard struct {
	Name string // unique; keys are spread by it, so renaming a shard moves them
}

// Shards is a fixed set of shards, safe for concurrent use.
type Shards struct {
	list  []Shard
	seeds []uint64 // hash of each name
}

// NewShards returns the set of the given shards, or an error unless there is at
// least one and their names are valid and distinct.
func NewShards(list ...Shard) (*Shards, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("partition: no shards")
	}
	s := &Shards{list: list}
	seen := make(map[string]bool)
	for _, sh := range list {
		if err := pingline.CheckName("shard", sh.Name); err != nil {
			return nil, fmt.Errorf("partition: shard %q: %w", sh.Name, err)
		}
		if seen[sh.Name] {
			return nil, fmt.Errorf("partition: two shards named %q", sh.Name)
		}
		seen[sh.Name] = true
		s.seeds = append(s.seeds, hashName(sh.Name))
	}
	return s, nil
}

// Len returns the number of shards.
func (s *Shards) Len() int { return len(s.list) }

// At returns shard i of [0, Len).
func (s *Shards) At(i int) Shard { return s.list[i] }

// Of returns the index of the shard that stores e: the highest of the shards'
// hashes with e's partition key (rendezvous hashing, Thaler and Ravishankar,
// "Using name-based mappings to increase hit rates", 1998).
func (s *Shards) Of(e *pingline.Entry) int {
	key := mix(e.Cell ^ uint64(e.SubKey)*0x9e3779b97f4a7c15)
	best, of := uint64(0), 0
	for i, seed := range s.seeds {
		if h := mix(key ^ seed); h > best {
			best, of = h, i
		}
	}
	return of
}

// hashName is 64-bit FNV-1a.
func hashName(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix makes every bit of the result depend on every bit of x: the 128-bit
// product of a wyhash round, folded.
func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^0xa0761d6478bd642f, x^0xe7037ed1a0b428db)
	x = hi ^ lo
	hi, lo = bits.Mul64(x^0x8ebc6af09c88c6e3, 0x589965cc75374cc3)
	return hi ^ lo
}
