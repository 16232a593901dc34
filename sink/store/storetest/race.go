package storetest

import (
	"slices"
	"testing"
	"time"

	"pingline"
)

// Race has a writer and a loader write the same rows, each to a place of its own and in turn,
// and reports rows/s and loader-rows/s, each of its best round, and as their ratio the median of
// all rounds: both of a round met the same other work of the machine. A round is so many pings of
// a convoy. Both are given the pings and return what is timed. A first, small round is not counted.
func Race(b *testing.B, c *Convoy, rows int, writer, loader func(list []pingline.Entry) func() error) {
	b.Helper()
	var best [2]float64 // rows/s
	var ratios []float64
	rounds := 0
	round := func(rows int) {
		list := c.List(rows)
		turns := []func() error{writer(list), loader(list)}
		var rate [2]float64
		for i := range turns {
			i = (i + rounds) % 2 // each is first in half of the rounds
			began := time.Now()
			if err := turns[i](); err != nil {
				b.Fatal(err)
			}
			rate[i] = float64(rows) / time.Since(began).Seconds()
			best[i] = max(best[i], rate[i])
		}
		ratios = append(ratios, rate[0]/rate[1])
		rounds++
	}
	round(rows / 4)
	best, ratios = [2]float64{}, nil
	for b.Loop() {
		round(rows)
	}
	slices.Sort(ratios)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(best[0], "rows/s")
	b.ReportMetric(best[1], "loader-rows/s")
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

// List returns the next pings.
func (c *Convoy) List(pings int) []pingline.Entry {
	list := make([]pingline.Entry, pings)
	for i := range list {
		list[i] = *c.Next()
	}
	return list
}
