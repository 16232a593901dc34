package partition

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// By says what pings are spread over the shards by.
type By uint8

// The ways to partition, as --partition-by names them.
const (
	ByCellAndRider By = iota // "cell+rider": the cell, and the rider too where it is hot
	ByRider                  // "rider": a rider's track lies in one shard
	ByCell                   // "cell": a cell lies in one shard, hot or not
)

var byNames = [...]string{"cell+rider", "rider", "cell"}

func (b By) String() string {
	if int(b) < len(byNames) {
		return byNames[b]
	}
	return fmt.Sprintf("partition by %d", uint8(b))
}

// MarshalText returns b's name.
func (b By) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText sets b to the way that text names.
func (b *By) UnmarshalText(text []byte) error {
	i := slices.Index(byNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("partition by %q: not one of %q", text, byNames)
	}
	*b = By(i)
	return nil
}

// MaxSplits is the most sub-keys a cell is split into.
const MaxSplits = 1024

// KeyConfig says how Keys chooses sub-keys. Shards is required; the zero value
// of the rest takes every default.
type KeyConfig struct {
	Shards  *Shards
	By      By
	HotRate float64        // pings/s that a sub-key may get before its cell is split further; 0 means 1,000
	Cool    time.Duration  // how long a cell goes without needing its splits before they are halved, at least 1 s; 0 means 10 m
	Splits  map[uint64]int // cells split beforehand, and into how many sub-keys at least: a power of two, at most MaxSplits
}

// Keys chooses sub-keys: the one writer asks for each ping it judges. A cell has
// one sub-key until it gets more than HotRate pings a second, then as many as
// keep the rate of each below that: 2, 4, … MaxSplits. A hash of the rider picks
// one, so one rider of one cell stays on one sub-key until the cell is split or merged,
// and of the riders of a cell split in two half stay.
//
// A cell's sub-keys are numbers picked so that they spread over the shards as
// the weights say: a handful left to chance would not (16 over 4 shards put 6 on
// one of them more often than not, half as much again as its part). Where a
// number leads is still the shards' business alone.
//
// Sub-keys are not kept: each entry carries its own. After a restart a running hot cell is
// found again within seconds, and its riders come to the same sub-keys as before
// if the shards are the same.
//
// Keys takes at most MaxKeysMemory bytes whatever cells are sent. When more than
// it has room for are busier than a split one, that one is merged early. Of is for
// one goroutine; Hot is safe for use by others meanwhile.
type Keys struct {
	cfg  KeyConfig
	most int                 // sub-keys a cell can have
	pre  map[uint64][]uint16 // sub-keys of the cells split beforehand
	sets [trackedSets]trackedSet

	mu  sync.Mutex
	hot map[uint64]heat // as of their last change of second
}

// NewKeys returns Keys that know of no hot cell, or an error if the
// configuration is out of range.
func NewKeys(cfg KeyConfig) (*Keys, error) {
	cfg.HotRate = cmp.Or(cfg.HotRate, 1000)
	cfg.Cool = cmp.Or(cfg.Cool, 10*time.Minute)
	switch {
	case cfg.Shards == nil:
		return nil, fmt.Errorf("partition: no shards to choose sub-keys for")
	case int(cfg.By) >= len(byNames):
		return nil, fmt.Errorf("partition: no such way: %v", cfg.By)
	case !(cfg.HotRate > 0):
		return nil, fmt.Errorf("partition: hot-cell rate %v not above 0", cfg.HotRate)
	case cfg.Cool < time.Second:
		return nil, fmt.Errorf("partition: hot cells cool in %v: less than 1s", cfg.Cool)
	}
	k := &Keys{cfg: cfg, most: MaxSplits, pre: make(map[uint64][]uint16), hot: make(map[uint64]heat)}
	if cfg.By != ByCellAndRider {
		if len(cfg.Splits) > 0 {
			return nil, fmt.Errorf("partition: %d cells to split beforehand, but partition by %v splits none", len(cfg.Splits), cfg.By)
		}
		k.most = 1
	}
	for cell, n := range cfg.Splits {
		if err := checkSplits(n); err != nil {
			return nil, fmt.Errorf("partition: cell %x: %w", cell, err)
		}
		k.pre[cell] = k.subKeys(cell, n)
		k.hot[cell] = heat{splits: uint16(n)}
	}
	return k, nil
}

func checkSplits(n int) error {
	if n < 1 || n > MaxSplits || n&(n-1) != 0 {
		return fmt.Errorf("%d splits: not a power of two in [1, %d]", n, MaxSplits)
	}
	return nil
}

// Of counts a ping of a rider in a cell and returns the sub-key for its entry.
// The rate of a cell is that of these calls: of the pings judged in it, stored
// or not, not of promotions, which have the sub-key of the ping they promote.
func (k *Keys) Of(cell uint64, rider string, now time.Time) uint16 {
	if k.cfg.By == ByRider {
		return subRider
	}
	second := uint32(now.Unix())
	set := &k.sets[mix(cell)%trackedSets]
	i := set.index(cell)
	if i < 0 {
		i = k.admit(set, cell, second)
	}
	h := &set.heat[i]
	if h.second != second {
		k.turn(set, i, second)
	}
	h.count++
	return pick(set.subKeys[i], int(h.splits), rider)
}

// pick returns the rider's of n sub-keys.
func pick(subKeys []uint16, n int, rider string) uint16 {
	if n <= 1 {
		return 0
	}
	return subKeys[mix(hashName(rider))%uint64(n)]
}

// subKeys returns n sub-keys for a cell; they begin with those it has when it is
// split less. The first is 0. Sub-key i is one of the numbers that leave i when
// divided by MaxSplits: the first that leads to the shard furthest behind its
// share, or as far behind as one finds.
func (k *Keys) subKeys(cell uint64, n int) []uint16 {
	shares := k.cfg.Shards.shares()
	tries := max(8, min(1<<16/MaxSplits-1, 1024/len(shares))) // of 4 shards, one is missed once in 70 million
	have := make([]float64, len(shares))
	have[k.cfg.Shards.OfKey(CellKey(cell, 0))] = 1
	list := make([]uint16, 1, n)
	for i := 1; i < n; i++ {
		lack := func(shard int) float64 { return shares[shard]*float64(i+1) - have[shard] }
		furthest := math.Inf(-1)
		for shard := range shares {
			furthest = max(furthest, lack(shard))
		}
		best, of, behind := uint16(0), 0, math.Inf(-1)
		for t := 0; t < tries && behind < furthest; t++ {
			sub := uint16(i + t*MaxSplits)
			shard := k.cfg.Shards.OfKey(CellKey(cell, sub))
			if l := lack(shard); l > behind {
				best, of, behind = sub, shard, l
			}
		}
		have[of]++
		list = append(list, best)
	}
	return list
}

// HotCell is a cell that is split, or gets more than the hot-cell rate.
type HotCell struct {
	Cell   uint64
	Rate   float64 // pings/s, as an average that forgets with a time constant of 10 s
	Splits int     // sub-keys it has
}

// Hot returns the hot cells as of now, the hottest first. Those split beforehand
// are always among them. Safe for use by another goroutine than the writer's.
func (k *Keys) Hot(now time.Time) []HotCell {
	second := uint32(now.Unix() - 1) // the one before now has ended: the writer may not have come to it
	k.mu.Lock()
	list := make([]HotCell, 0, len(k.hot))
	for cell, h := range k.hot {
		k.advance(&h, len(k.pre[cell]), second)
		if k.isHot(&h) {
			list = append(list, HotCell{cell, float64(h.rate), int(h.splits)})
		}
	}
	k.mu.Unlock()
	slices.SortFunc(list, func(a, b HotCell) int {
		return cmp.Or(cmp.Compare(b.Rate, a.Rate), cmp.Compare(a.Cell, b.Cell))
	})
	return list
}
