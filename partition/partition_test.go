package partition

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/uber/h3-go/v4"

	"pingline"
)

func fix(t testing.TB, lat, lon float64) *pingline.Fix {
	t.Helper()
	var f pingline.Fix
	if err := f.SetPosition(lat, lon); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestCellOf(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lat, lon float64
		res      int
		want     string
	}{
		{"San Francisco, from H3's own examples", 37.7955, -122.3937, 5, "85283083fffffff"},
		{"the same, coarser", 37.7955, -122.3937, 0, "8029fffffffffff"},
		{"a pole has a cell", 90, 0, 5, "85032623fffffff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := NewCells(tt.res)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%x", c.Of(fix(t, tt.lat, tt.lon))); got != tt.want {
				t.Errorf("cell of %v,%v = %s, want %s", tt.lat, tt.lon, got, tt.want)
			}
		})
	}
}

func TestCellHoldsItsPosition(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c, err := NewCells(5)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		f := fix(t, rng.Float64()*180-90, rng.Float64()*360-180)
		cell := h3.Cell(c.Of(f))
		if !cell.IsValid() || cell.Resolution() != 5 {
			t.Fatalf("cell of %v,%v = %v: not a cell of resolution 5", f.Lat(), f.Lon(), cell)
		}
		centre, err := cell.LatLng()
		if err != nil {
			t.Fatal(err)
		}
		// The largest cell of resolution 5 has a circumradius below 13 km.
		if d := h3.GreatCircleDistanceKm(centre, h3.LatLng{Lat: f.Lat(), Lng: f.Lon()}); d > 13 {
			t.Fatalf("%v,%v is %.1f km from the centre of its cell %v", f.Lat(), f.Lon(), d, cell)
		}
	}
}

func TestResolutionOutOfRange(t *testing.T) {
	for _, res := range []int{-1, 16} {
		if _, err := NewCells(res); err == nil {
			t.Errorf("NewCells(%d) succeeded", res)
		}
	}
}

func TestNewShardsRefuses(t *testing.T) {
	for name, list := range map[string][]Shard{
		"none":      {},
		"no name":   {{Name: ""}},
		"bad name":  {{Name: "a b"}},
		"same name": {{Name: "a"}, {Name: "b"}, {Name: "a"}},
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

func shards(t testing.TB, n int) *Shards {
	t.Helper()
	list := make([]Shard, n)
	for i := range list {
		list[i].Name = string(rune('a' + i))
	}
	s, err := NewShards(list...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKeysSpreadEvenly(t *testing.T) {
	list, s := keys(100_000), shards(t, 4)
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
	list, four, five := keys(100_000), shards(t, 4), shards(t, 5)
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
}

func BenchmarkCellOf(b *testing.B) {
	c, err := NewCells(5)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	fixes := make([]*pingline.Fix, 1000)
	for i := range fixes {
		fixes[i] = fix(b, 41+rng.Float64()/5, -8-rng.Float64()/5)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c.Of(fixes[i%len(fixes)])
	}
}
