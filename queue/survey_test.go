package queue

import (
	"math/rand/v2"
	"testing"
)

// A numbering says of every number and every sequence what a plain list of all
// records says, whatever was lost at the ends of its spans.
func TestNumbering(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		number, seq := 1+rng.Uint64N(3), 1+rng.Uint64N(3)
		first := seq
		n := numbering{{number, seq}}
		var numbers []uint64 // of sequences first, first+1, …
		for range rng.IntN(60) {
			if rng.IntN(8) == 0 {
				number += rng.Uint64N(4) // lost, their sequences are given again
			}
			was := n
			n = n.with(number, seq)
			if len(was) > 0 && &was[0] == &n[0] && len(was) != len(n) {
				t.Fatal("with changed what others may be reading")
			}
			numbers = append(numbers, number)
			number, seq = number+1, seq+1
		}
		for i, want := range numbers {
			if got := n.number(first + uint64(i)); got != want {
				t.Errorf("seed %d: number(%d) = %d, want %d", seed, first+uint64(i), got, want)
			}
		}
		at := 0 // of the first record that is not before wanted
		for wanted := uint64(0); wanted < number+3; wanted++ {
			for at < len(numbers) && numbers[at] < wanted {
				at++
			}
			want := first + uint64(at)
			if wanted >= number {
				want += wanted - number
			}
			if got := n.seq(wanted); got != want {
				t.Fatalf("seed %d: %v.seq(%d) = %d, want %d", seed, n, wanted, got, want)
			}
		}
	}
}

func TestGaps(t *testing.T) {
	list := []uint64{1, 2, 5, 6, 7, 9, 12, 13, 20}
	got := gaps(list, 3, 13)
	want := []gap{{5, 7}, {9, 9}, {12, 12}}
	if len(got) != len(want) {
		t.Fatalf("gaps = %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("gaps = %v, want %v", got, want)
		}
	}
}
