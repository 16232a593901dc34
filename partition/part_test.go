package partition

import (
	"fmt"
	"math"
	"testing"
)

// Riders have to stay in their parts for as long as there are logs.
func TestPartsNeverChange(t *testing.T) {
	for _, tt := range []struct {
		rider string
		of64  int
	}{{"", 38}, {"r-1", 7}, {"r-2", 55}, {"ünal", 7}, {"courier 17", 18}, {"01HZX3J8Q0W0000000000000AB", 29}} {
		if got := Part(tt.rider, 64); got != tt.of64 {
			t.Errorf("%q is in part %d of 64, want %d", tt.rider, got, tt.of64)
		}
		for parts := 1; parts <= 64; parts *= 2 {
			if want := tt.of64 * parts / 64; Part(tt.rider, parts) != want {
				t.Errorf("%q is in part %d of %d, want %d", tt.rider, Part(tt.rider, parts), parts, want)
			}
		}
	}
}

func TestRidersSpreadOverParts(t *testing.T) {
	const riders = 100_000
	for _, name := range []string{"r-%d", "%07d", "rider %x of a fleet", "%d@example.org"} {
		for _, parts := range []int{2, 16} {
			count := make([]float64, parts)
			for i := range riders {
				count[Part(fmt.Sprintf(name, i), parts)]++
			}
			for p, n := range count {
				// By chance alone a sixteenth of the riders is off by 1.2 % (one standard deviation).
				if off := n/(riders/float64(parts)) - 1; math.Abs(off) > 0.035 {
					t.Errorf("%q: part %d of %d has %.2f %% more than its share", name, p, parts, 100*off)
				}
			}
		}
	}
}

// The riders of a part are spread over the shards, and over the sub-keys of a hot cell, as all riders are.
func TestPartsDoNotFollowShards(t *testing.T) {
	shards, err := NewShards(Shard{Name: "a"}, Shard{Name: "b"}, Shard{Name: "c"}, Shard{Name: "d"})
	if err != nil {
		t.Fatal(err)
	}
	const riders, parts = 200_000, 16
	var ofShard, ofSub [parts][4]float64
	for i := range riders {
		rider := fmt.Sprintf("r-%06d", i)
		p := Part(rider, parts)
		ofShard[p][shards.OfKey(RiderKey(rider))]++
		ofSub[p][pick([]uint16{0, 1, 2, 3}, 4, rider)]++
	}
	for p := range parts {
		for k := range 4 {
			const share = riders / parts / 4
			if a, b := ofShard[p][k]/share-1, ofSub[p][k]/share-1; math.Abs(a) > 0.1 || math.Abs(b) > 0.1 {
				t.Errorf("part %d: shard %d has %.1f %% more than its share, sub-key %d %.1f %%", p, k, 100*a, k, 100*b)
			}
		}
	}
}

func BenchmarkPart(b *testing.B) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n += Part("01HZX3J8Q0W0000000000000AB", 16)
	}
	_ = n
}
