package dedupe

import (
	"testing"

	"pingline/internal/costtest"
)

func TestCostOfJudging(t *testing.T) {
	f, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	const round = 16 * Ahead
	fl := newFleet(1000, 1000, false)
	var made requests
	var batch Batch
	judge := func() {
		for i := range made.entries {
			if i%Ahead == 0 {
				f.Prefetch(made.pings[i:])
			}
			f.Judge(&batch, &made.entries[i], Bound{MaxError: 10, AccuracyCap: 50}, 1, 0)
			batch.Reset()
		}
	}
	for range 12 {
		made.make(fl, 1000)
		judge()
	}
	// Pings that the filter has not seen, in each turn: else all are duplicates.
	costtest.Guard(t, round, 190, func() { made.make(fl, round) }, judge)
}
