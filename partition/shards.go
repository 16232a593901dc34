// Package partition decides where a ping belongs: the H3 cell that is its tag,
// the key it is spread by, and the shard that stores it.
//
// A cell is a function of the position and the configured resolution alone. A
// key is chosen once, by the writer, and its sub-key travels in the entry. A
// shard is a function of the entry and the configured shards alone, so that every
// reader of the log routes an entry alike whenever it reads it: splitting a hot
// cell, or another way to partition, does not change the shard of an entry already
// written. Adding a shard to n moves about 1/(n+1) of the keys, all of them to the
// new shard.
//
// The state in memory (outlines and rates of cells) is bounded, serves speed and
// balance only, and may be lost at any time.
package partition

import (
	"cmp"
	"fmt"
	"math/bits"

	"pingline"
)

// Shard is one place that pings are stored in.
type Shard struct {
	Name   string  // unique; keys are spread by it, so renaming a shard moves them
	Weight float64 // share of the keys, relative to the other weights, in [1e-3, 1e3]; 0 means 1
}

// Shards is a fixed set of shards, safe for concurrent use. Their order in the list
// does not affect the shard of a key.
type Shards struct {
	list   []Shard
	seeds  []uint64 // hash of each name
	weighs bool     // weights differ
}

// The weights that a shard can have.
const (
	MinWeight = 1e-3
	MaxWeight = 1e3
)

// NewShards returns the set of the given shards, or an error unless there is at
// least one, their names are valid and distinct and their weights in range.
func NewShards(list ...Shard) (*Shards, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("partition: no shards")
	}
	s := &Shards{}
	seen := make(map[string]bool)
	for _, sh := range list {
		if err := pingline.CheckName("shard", sh.Name); err != nil {
			return nil, fmt.Errorf("partition: shard %q: %w", sh.Name, err)
		}
		if seen[sh.Name] {
			return nil, fmt.Errorf("partition: two shards named %q", sh.Name)
		}
		seen[sh.Name] = true
		sh.Weight = cmp.Or(sh.Weight, 1)
		if !(sh.Weight >= MinWeight && sh.Weight <= MaxWeight) {
			return nil, fmt.Errorf("partition: shard %q: weight %v not in [%v, %v]", sh.Name, sh.Weight, MinWeight, MaxWeight)
		}
		s.list = append(s.list, sh)
		s.seeds = append(s.seeds, hashName(sh.Name))
		s.weighs = s.weighs || sh.Weight != s.list[0].Weight
	}
	return s, nil
}

// Len returns the number of shards.
func (s *Shards) Len() int { return len(s.list) }

// At returns shard i of [0, Len), with the weight it counts by.
func (s *Shards) At(i int) Shard { return s.list[i] }

// Of returns the index of the shard that stores e.
func (s *Shards) Of(e *pingline.Entry) int { return s.OfKey(KeyOf(e)) }

// OfKey returns the index of the shard that stores the entries of a key: the first in
// the key's order.
func (s *Shards) OfKey(key Key) int {
	of, best := 0, s.standing(0, key)
	for i := 1; i < len(s.list); i++ {
		if st := s.standing(i, key); st.before(best) {
			of, best = i, st
		}
	}
	return of
}

// Order appends to dst the indices of all shards in the order in which they
// stand in for each other for e: Of(e) first. Removing a shard does not change the
// order of the rest.
func (s *Shards) Order(dst []int, e *pingline.Entry) []int { return s.OrderKey(dst, KeyOf(e)) }

// OrderKey is Order for a key.
func (s *Shards) OrderKey(dst []int, key Key) []int {
	var room [32]standing
	sorted, first := room[:0], len(dst)
	for i := range s.list {
		st, at := s.standing(i, key), i
		sorted, dst = append(sorted, st), append(dst, i)
		for ; at > 0 && st.before(sorted[at-1]); at-- {
			sorted[at], dst[first+at] = sorted[at-1], dst[first+at-1]
		}
		sorted[at], dst[first+at] = st, i
	}
	return dst
}

// standing is the rank of a shard in the order of a key: rendezvous hashing
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
// 1998), in its weighted form by logarithms (Schindelhauer and Schomaker,
// "Weighted distributed hash tables", 2005). The hash of shard and key, taken
// as a number h of (0, 1), makes -ln(h)/weight exponentially distributed with
// the weight as its rate, so a shard has the least of all with a probability that is
// its share of the weights. The weight of another shard does not enter: a changed
// weight moves keys to or from its own shard only.
type standing struct {
	wait float64 // the exponential, in no unit; least stands first
	hash uint64  // highest stands first where waits are equal
}

func (a standing) before(b standing) bool {
	return a.wait < b.wait || a.wait == b.wait && a.hash > b.hash
}

func (s *Shards) standing(i int, key Key) standing {
	st := standing{hash: mix(uint64(key) ^ s.seeds[i])}
	if s.weighs { // else the hash alone gives the same order
		st.wait = float64(minusLog2(st.hash)) / s.list[i].Weight
	}
	return st
}

// minusLog2 returns -log2(h / 2^64) in units of 2^-48, off by 3e-6 at most. It
// falls as h grows. It uses integers to be the same on every machine, as math.Log is
// not.
func minusLog2(h uint64) uint64 {
	h = max(h, 1)
	zeros := bits.LeadingZeros64(h)
	m := h << zeros // 1.63: [1, 2)
	at, rest := m>>55&255, m<<9>>41
	log := log2Table[at] + (log2Table[at+1]-log2Table[at])*rest>>23
	return uint64(zeros+1)<<48 - log
}

// log2Table holds log2(1 + i/256) in units of 2^-48.
var log2Table = func() (table [257]uint64) {
	for i := range 256 {
		x := uint64(256+i) << 55 // 1.63
		for range 48 {           // each squaring gives a binary digit
			hi, lo := bits.Mul64(x, x)
			table[i] <<= 1
			if hi>>63 == 1 {
				table[i], x = table[i]|1, hi
			} else {
				x = hi<<1 | lo>>63
			}
		}
	}
	table[256] = 1 << 48
	return table
}()

// shares returns each shard's share of the weights; together they are 1.
func (s *Shards) shares() []float64 {
	shares, sum := make([]float64, len(s.list)), 0.0
	for i := range s.list {
		sum += s.list[i].Weight
	}
	for i := range s.list {
		shares[i] = s.list[i].Weight / sum
	}
	return shares
}

// Key decides the shard of an entry: all entries of a key go to the same shard.
type Key uint64

// KeyOf returns the key of e: its cell and sub-key, or its rider.
func KeyOf(e *pingline.Entry) Key {
	if e.SubKey == subRider {
		return RiderKey(e.Rider)
	}
	return CellKey(e.Cell, e.SubKey)
}

// CellKey returns the key of a cell's sub-key.
func CellKey(cell uint64, sub uint16) Key { return Key(mix(cell ^ uint64(sub)*0x9e3779b97f4a7c15)) }

// RiderKey returns the key of a rider whose pings stay in the same shard in all cells.
func RiderKey(rider string) Key { return Key(mix(hashName(rider))) }

// subRider is the sub-key of an entry whose key is the rider, not the cell. Because
// the entry carries it, a change of --partition-by does not reroute written entries.
const subRider = MaxSplits

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
