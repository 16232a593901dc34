package storetest

import (
	"slices"
	"testing"
	"time"

	"pingline"
)

// Race has a writer and a loader write the same rows, each to a place of its own and in turn,
// and reports rows/s, loader-rows/s, and their ratio: the median of all rounds, so that other
// work of the machine during some of them does not count. A round is so many pings of a convoy.
// Both are given the pings and return what is timed. A first, small round is not counted.
func Race(b *testing.B, c *Convoy, rows int, writer, loader func(list []pingline.Entry) func() error) {
	b.Helper()
	var ours, theirs, ratios []float64
	round := func(rows int) {
		list := c.List(rows)
		turns := []func() error{writer(list), loader(list)}
		var took [2]time.Duration
		for i := range turns {
			i = (i + len(ratios)) % 2 // each is first in half of the rounds
			began := time.Now()
			if err := turns[i](); err != nil {
				b.Fatal(err)
			}
			took[i] = time.Since(began)
		}
		ours, theirs = append(ours, float64(rows)/took[0].Seconds()), append(theirs, float64(rows)/took[1].Seconds())
		ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
	}
	round(rows / 4)
	ours, theirs, ratios = nil, nil, nil
	for b.Loop() {
		round(rows)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ours), "rows/s")
	b.ReportMetric(median(theirs), "loader-rows/s")
	b.ReportMetric(median(ratios), "ratio")
}

// List returns the next pings.
func (c *Convoy) List(pings int) []pingline.Entry {
	list := make([]pingline.Entry, pings)
	for i := range list {
		list[i] = *c.Next()
	}
	return list
}
