package scan

import (
	"math/rand/v2"
	"sort"
	"testing"
)

// A numbering says of every number and every sequence the same as a plain list of
// all records, whatever was lost at the ends of its spans.
func TestNumbering(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		number, seq := 1+rng.Uint64N(3), 1+rng.Uint64N(3)
		first := seq
		n := NewNumbering(number, seq)
		var numbers []uint64 // of sequences first, first+1, …
		for range rng.IntN(60) {
			if rng.IntN(8) == 0 {
				number += rng.Uint64N(4) // lost, their sequences are given again
			}
			was := n
			n = n.With(number, seq)
			if len(was) > 0 && &was[0] == &n[0] && len(was) != len(n) {
				t.Fatal("with changed a list that others may be reading")
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
			if got := n.Seq(wanted); got != want {
				t.Fatalf("seed %d: %v.Seq(%d) = %d, want %d", seed, n, wanted, got, want)
			}
		}
	}
}

// number returns the number that belongs to sequence seq.
func (n Numbering) number(seq uint64) uint64 {
	i := sort.Search(len(n), func(i int) bool { return n[i].seq > seq })
	return seq + n[max(i, 1)-1].offset()
}
