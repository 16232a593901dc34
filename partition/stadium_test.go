package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pingline"
)

// crowdedCity is 50,000 riders who send a ping every 5 s, 80 % of them around a stadium
// that lies within one coarse cell, the others anywhere within a degree of it.
type crowdedCity struct {
	rng    *rand.Rand
	riders []pingline.Ping
}

func newCrowdedCity(t testing.TB, seed uint64, cells Cells) *crowdedCity {
	t.Helper()
	c := &crowdedCity{rng: rand.New(rand.NewPCG(seed, 19))}
	middle := centre(cells.Of(fix(t, c.rng.Float64()*100-50, c.rng.Float64()*358-179)))
	for i := range 50_000 {
		spread := 0.02 // 2 km
		if i%5 == 0 {
			spread = 1
		}
		c.riders = append(c.riders, pingline.Ping{
			Rider: fmt.Sprintf("%x-%d", seed, c.rng.IntN(1e9)),
			Fix:   *fix(t, middle[1]+(2*c.rng.Float64()-1)*spread, middle[0]+(2*c.rng.Float64()-1)*spread),
		})
	}
	c.rng.Shuffle(len(c.riders), func(i, j int) { c.riders[i], c.riders[j] = c.riders[j], c.riders[i] })
	return c
}

// run sends the city's pings for some seconds and returns how many points each
// shard got in each, and after how many the first cell was split.
func (c *crowdedCity) run(cells Cells, keys *Keys, shards *Shards, seconds int) (points [][]int, split int) {
	const rate = 10_000
	for s := range seconds {
		count := make([]int, shards.Len())
		for i := range rate {
			p := &c.riders[(s*rate+i)%len(c.riders)]
			p.LatE7 += int32(c.rng.IntN(1001)) - 500
			e := pingline.Entry{Ping: *p, Cell: cells.Of(&p.Fix)}
			e.SubKey = keys.Of(e.Cell, e.Rider, epoch.Add(time.Duration(s*rate+i)*time.Second/rate))
			count[shards.Of(&e)]++
		}
		points = append(points, count)
		if hot := keys.Hot(epoch.Add(time.Duration(s) * time.Second)); split == 0 && len(hot) > 0 && hot[0].Splits > 1 {
			split = s
		}
	}
	return points, split
}

// imbalance returns most ÷ mean points of a shard.
func imbalance(points [][]int) float64 {
	total, most, sum := make([]int, len(points[0])), 0, 0
	for _, count := range points {
		for shard, n := range count {
			total[shard] += n
			most, sum = max(most, total[shard]), sum+n
		}
	}
	return float64(most*len(total)) / float64(sum)
}

func TestStadium(t *testing.T) {
	cells, err := NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	seeds := uint64(20)
	if testing.Short() {
		seeds = 2
	}
	shards := weighted(t, 1, 1, 1, 1)
	for seed := range seeds {
		points, split := newCrowdedCity(t, seed, cells).run(cells, newKeys(t, KeyConfig{Shards: shards}), shards, 40)
		even := imbalance(points[20:])
		unsplit, _ := newCrowdedCity(t, seed, cells).run(cells, newKeys(t, KeyConfig{Shards: shards, By: ByCell}), shards, 10)
		uneven := imbalance(unsplit)
		balanced := len(points)
		for balanced > 0 && imbalance(points[balanced-1:balanced]) < 1.15 {
			balanced--
		}
		t.Logf("seed %d: imbalance %.3f, %.2f with splitting off; first split after %d s, below 1.15 after %d s", seed, even, uneven, split, balanced)
		if even >= 1.15 || uneven <= 2.5 {
			t.Errorf("seed %d: imbalance %.3f split, want below 1.15; %.3f not split, want above 2.5", seed, even, uneven)
		}
	}
}
