package partition

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// By is the property by which pings are spread over the shards.
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
	HotRate float64        // pings/s of a sub-key above which its cell is split further; 0 means 1,000
	Cool    time.Duration  // time after which splits that a cell does not need are halved, at least 1 s; 0 means 10 m
	Splits  map[uint64]int // least sub-keys of cells split beforehand: a power of two, at most MaxSplits
}

// Keys chooses the sub-key of each ping that the writer judges. A cell has a single
// sub-key until it gets more than HotRate pings a second, then as many as keep the
// rate of each below HotRate: 2, 4, … MaxSplits. A hash of the rider picks among them,
// so a rider in a cell keeps a sub-key until the cell is split or merged, and when a
// cell is split in two half of its riders keep theirs.
//
// The sub-keys of a cell are picked so that they spread over the shards by the
// weights. Random numbers would not, as they are few: 16 of them over 4 shards put 6
// on the same shard more often than not, half as much again as its share. The shard
// of a sub-key is still decided by Shards alone.
//
// Keys keeps nothing on disk: each entry carries its sub-key. After a restart a hot
// cell is found again within seconds, and its riders get the same sub-keys as before
// if the shards are the same.
//
// Keys takes at most MaxKeysMemory bytes, whatever cells are sent: a split cell is
// merged early when more cells than there is room for are busier. Of is for a single
// goroutine; Hot is safe for use by any goroutine meanwhile.
type Keys struct {
	cfg  KeyConfig
	most int                 // sub-keys a cell can have
	pre  map[uint64][]uint16 // sub-keys of the cells split beforehand
	sets [trackedSets]trackedSet

	mu  sync.Mutex
	hot map[uint64]heat // by cell, as of the cell's last change of second
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

// Of counts a ping of a rider in a cell and returns the sub-key for its entry. So
// the rate of a cell counts its judged pings, stored or not, and no promotions: a
// promotion has the sub-key of the ping that it promotes.
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

// pick returns the rider's sub-key among the first n.
func pick(subKeys []uint16, n int, rider string) uint16 {
	if n <= 1 {
		return 0
	}
	return subKeys[mix(hashName(rider))%uint64(n)]
}

// subKeys returns n sub-keys for a cell; the first is 0, and fewer sub-keys are a
// prefix of more. Sub-key i is a number that leaves i when divided by MaxSplits: the
// first that leads to the shard furthest behind its share, or, after a limited number
// of tries, to the shard furthest behind of the shards found.
func (k *Keys) subKeys(cell uint64, n int) []uint16 {
	shares := k.cfg.Shards.shares()
	tries := max(8, min(1<<16/MaxSplits-1, 1024/len(shares))) // a given shard of 4 is missed once in 70 million
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

// Hot returns the hot cells as of now, the hottest first. Cells split beforehand are
// always among them. Safe for use by another goroutine than the writer's.
func (k *Keys) Hot(now time.Time) []HotCell {
	second := uint32(now.Unix() - 1) // the last full second: the writer may not have advanced the cell to it
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
