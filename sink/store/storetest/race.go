package storetest

import (
	"testing"
	"time"

	"pingline"
)

// Race has a writer and a loader write the same rows, each to a place of its own and in turn,
// and reports rows/s, loader-rows/s, and their ratio. A round is so many pings of a convoy.
// Both are given the pings and return what is timed.
func Race(b *testing.B, c *Convoy, rows int, writer, loader func(list []pingline.Entry) func() error) {
	b.Helper()
	var took [2]time.Duration
	rounds := 0
	for ; b.Loop(); rounds++ {
		list := c.List(rows)
		turns := []func() error{writer(list), loader(list)}
		for i := range turns {
			i = (i + rounds) % 2 // each is first in half of the rounds
			began := time.Now()
			if err := turns[i](); err != nil {
				b.Fatal(err)
			}
			took[i] += time.Since(began)
		}
	}
	all := float64(rows * rounds)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(all/took[0].Seconds(), "rows/s")
	b.ReportMetric(all/took[1].Seconds(), "loader-rows/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "ratio")
}

// List returns the next pings.
func (c *Convoy) List(pings int) []pingline.Entry {
	list := make([]pingline.Entry, pings)
	for i := range list {
		list[i] = *c.Next()
	}
	return list
}
