package cache

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pingline/queue/record"
)

// The cache holds the records since the last jump of the numbers, as many of the
// newest as there is room for, like a list that drops its oldest.
func TestCache(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		cache := Records{Most: rng.Int64N(20 * Overhead)}
		var model []record.Record
		weight := func() (sum int64) {
			for _, r := range model {
				sum += Overhead + int64(len(r.Payload))
			}
			return sum
		}
		for number := uint64(1); number < 1000; number++ {
			if rng.IntN(30) == 0 { // numbers are lost
				number += rng.Uint64N(5)
			}
			r := record.Record{Number: number, Payload: make([]byte, rng.IntN(2*Overhead))}
			if n := len(model); n > 0 && model[n-1].Number+1 != number {
				model = nil
			}
			model = append(model, r)
			for weight() > cache.Most {
				model = model[1:]
			}
			cache.Add(r)
			if cache.bytes != weight() || cap(cache.list) > 200 {
				t.Fatalf("seed %d, record %d: %d bytes in a list for %d, want %d", seed, number, cache.bytes, cap(cache.list), weight())
			}
			for n := max(number, 40) - 40; n < number+3; n++ {
				i := slices.IndexFunc(model, func(r record.Record) bool { return r.Number == n })
				got, held := cache.Get(n)
				if held != (i >= 0) || held && (got.Number != n || len(got.Payload) != len(model[i].Payload)) {
					t.Fatalf("seed %d, after record %d: get(%d) = record %d, %v", seed, number, n, got.Number, held)
				}
			}
		}
	}
}
