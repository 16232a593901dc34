package partition

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline"
)

func TestNewShardsRefuses(t *testing.T) {
	for name, list := range map[string][]Shard{
		"none":      {},
		"no name":   {{Name: ""}},
		"bad name":  {{Name: "a b"}},
		"same name": {{Name: "a"}, {Name: "b"}, {Name: "a"}},
		"below 0":   {{Name: "a", Weight: -1}},
		"no weight": {{Name: "a", Weight: math.NaN()}},
		"too much":  {{Name: "a"}, {Name: "b", Weight: math.Inf(1)}},
	} {
		if _, err := NewShards(list...); err == nil {
			t.Errorf("%s: NewShards(%v) succeeded", name, list)
		}
	}
}

// keys are n entries with distinct partition keys, as cells are distributed:
// neighbours share their high bits and end in ones.
func keys(n int) []pingline.Entry {
	rng := rand.New(rand.NewPCG(3, 4))
	list := make([]pingline.Entry, n)
	for i := range list {
		list[i].Cell = 0x85<<52 | uint64(rng.IntN(1<<22))<<30 | 1<<30 - 1
		list[i].SubKey = uint16(i % 4)
	}
	return list
}

func TestKeysSpreadEvenly(t *testing.T) {
	list, s := keys(100_000), weighted(t, 1, 1, 1, 1)
	var count [4]int
	for i := range list {
		count[s.Of(&list[i])]++
	}
	for i, n := range count {
		if n < 24_000 || n > 26_000 {
			t.Errorf("shard %s has %d of 100,000 keys, want a quarter ± 4 %%", s.At(i).Name, n)
		}
	}
}

func TestAddedShardMovesOnlyItsShare(t *testing.T) {
	list := keys(100_000)
	for i := range list { // a third of them by rider
		if i%3 == 0 {
			list[i].Rider, list[i].SubKey = fmt.Sprint("r-", i), subRider
		}
	}
	for _, weight := range []float64{1, 2.5} { // of all, so the fifth part is the same
		four, five := weighted(t, weight, weight, weight, weight), weighted(t, weight, weight, weight, weight, weight)
		moved := 0
		for i := range list {
			before, after := four.Of(&list[i]), five.Of(&list[i])
			if before == after {
				continue
			}
			moved++
			if after != 4 {
				t.Fatalf("key %d moved from %s to %s, not to the new shard", i, four.At(before).Name, five.At(after).Name)
			}
		}
		if moved < 19_000 || moved > 21_000 {
			t.Errorf("a fifth shard moved %d of 100,000 keys, want a fifth ± 5 %%", moved)
		}
		t.Logf("a fifth shard of weight %v moved %d of 100,000 keys, none between the old four", weight, moved)
	}
}

// weighted are shards s0, s1, s2, … of the given weights.
func weighted(t testing.TB, weights ...float64) *Shards {
	t.Helper()
	list := make([]Shard, len(weights))
	for i, w := range weights {
		list[i] = Shard{Name: fmt.Sprint("s", i), Weight: w}
	}
	s, err := NewShards(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWeightsSpreadInProportion(t *testing.T) {
	list, s := keys(200_000), weighted(t, 1, 2, 0.5, 4.5)
	var count [4]int
	for i := range list {
		count[s.Of(&list[i])]++
	}
	for i, n := range count {
		want := float64(len(list)) * s.At(i).Weight / 8
		if math.Abs(float64(n)-want) > 4*math.Sqrt(want) {
			t.Errorf("shard %d of weight %v has %d keys, want %.0f", i, s.At(i).Weight, n, want)
		}
	}
}

// A changed weight moves keys to or from its shard only, be it the first that
// differs.
func TestChangedWeightMovesOnlyItsKeys(t *testing.T) {
	list := keys(20_000)
	before, after := weighted(t, 0, 1, 1, 1), weighted(t, 1, 1, 2, 1)
	for i := range list {
		if a, b := before.Of(&list[i]), after.Of(&list[i]); a != b && b != 2 {
			t.Fatalf("key %d moved from %d to %d when shard 2 became heavier", i, a, b)
		}
	}
}

func TestOrder(t *testing.T) {
	list := keys(2000)
	for name, s := range map[string]*Shards{
		"even": weighted(t, 1, 1, 1, 1, 1), "weighted": weighted(t, 1, 3, 0.2, 1, 1), "many": weighted(t, make([]float64, 50)...),
	} {
		second := make(map[int]int)
		for i := range list {
			e := &list[i]
			order := s.Order([]int{-7}, e)
			if order[0] != -7 || len(order) != 1+s.Len() || order[1] != s.Of(e) {
				t.Fatalf("%s: Order appends %v, Of is %d", name, order[1:], s.Of(e))
			}
			order = order[1:]
			second[order[1]]++
			// Without the shard that stands third, the others keep their order.
			var rest []Shard
			var want []string
			for j, at := range order {
				if j != 2 {
					want = append(want, s.At(at).Name)
				}
			}
			for j := range s.Len() {
				if j != order[2] {
					rest = append([]Shard{s.At(j)}, rest...) // and whatever order they are listed in
				}
			}
			without, err := NewShards(rest...)
			if err != nil {
				t.Fatal(err)
			}
			for j, at := range without.Order(nil, e) {
				if without.At(at).Name != want[j] {
					t.Fatalf("%s: without its third shard, place %d of a key's order is %s, want %s", name, j, without.At(at).Name, want[j])
				}
			}
		}
		if len(second) != s.Len() { // what a dead shard leaves is spread over all others
			t.Errorf("%s: only %d of %d shards ever stand second", name, len(second), s.Len())
		}
	}
}

// Routes outlive the process and the machine: a change of the hash would move
// every key.
func TestRoutesAreFixed(t *testing.T) {
	even, heavy := weighted(t, 1, 1, 1, 1), weighted(t, 1, 2, 3, 0.5)
	list := keys(32)
	list[31].Rider, list[31].SubKey = "r-1", subRider
	got := ""
	for i := range list {
		got += fmt.Sprintf("%d%d ", even.Of(&list[i]), heavy.Of(&list[i]))
	}
	const want = "22 00 00 11 32 11 00 01 02 22 32 33 11 30 22 32 22 31 02 02 31 11 22 11 33 11 11 00 33 00 02 32 "
	if got != want {
		t.Errorf("routes are %s, want %s", got, want)
	}
}

func TestRiderModeIgnoresTheCell(t *testing.T) {
	s := weighted(t, 1, 1, 1)
	a := pingline.Entry{Ping: pingline.Ping{Rider: "r-1"}, Cell: 1, SubKey: subRider}
	b := a
	b.Cell = 2
	if KeyOf(&a) != KeyOf(&b) || KeyOf(&a) != RiderKey("r-1") {
		t.Error("the cell enters the key of a rider")
	}
	if b.SubKey = 1; KeyOf(&b) != CellKey(2, 1) || KeyOf(&b) == CellKey(2, 0) || KeyOf(&b) == CellKey(1, 1) {
		t.Error("a cell's key is not made of cell and sub-key")
	}
	count := make([]int, s.Len())
	for i := range 30_000 {
		count[s.OfKey(RiderKey(fmt.Sprintf("r-%06d", i)))]++
	}
	for i, n := range count {
		if n < 9500 || n > 10_500 {
			t.Errorf("shard %d has %d of 30,000 riders", i, n)
		}
	}
}

func TestMinusLog2(t *testing.T) {
	last := uint64(math.MaxUint64)
	rng := rand.New(rand.NewPCG(7, 8))
	hashes := []uint64{0, 1, 2, 3, 1<<63 - 1, 1 << 63, 1<<63 + 1, math.MaxUint64 - 1, math.MaxUint64}
	for range 100_000 {
		hashes = append(hashes, rng.Uint64()>>rng.IntN(64))
	}
	slices.Sort(hashes)
	for _, h := range hashes {
		got := minusLog2(h)
		if got > last {
			t.Fatalf("minusLog2(%d) = %d rises, %d before", h, got, last)
		}
		last = got
		want := 64 - math.Log2(float64(max(h, 1)))
		if got == 0 || math.Abs(float64(got)/(1<<48)-want) > 3e-6 {
			t.Fatalf("minusLog2(%d) = %v, want %v", h, float64(got)/(1<<48), want)
		}
	}
}

func TestRoutingAllocatesNothing(t *testing.T) {
	s, e, order := weighted(t, 1, 2, 3, 4), &keys(1)[0], make([]int, 0, 4)
	if n := testing.AllocsPerRun(100, func() { s.Of(e); order = s.Order(order[:0], e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkShardOf(b *testing.B) {
	list := keys(1000)
	for name, s := range map[string]*Shards{"even": weighted(b, 1, 1, 1, 1), "weighted": weighted(b, 1, 2, 3, 4)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for i := 0; b.Loop(); i++ {
				n += s.Of(&list[i%len(list)])
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "keys/s")
		})
	}
}
