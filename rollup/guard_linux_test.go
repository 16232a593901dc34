package rollup

import (
	"context"
	"math"
	"testing"

	"pingline"
	"pingline/internal/costtest"
	"pingline/queue"
)

func TestCostOfTakingACommit(t *testing.T) {
	records, pings := fleet(t, 1000, 300, true)
	log := openLog(t, queue.Config{})
	var r *Rollup
	var rest []queue.Record
	const commits = 5
	costtest.Guard(t, commits*pings/len(records), 190, func() {
		if len(rest) >= commits {
			return
		}
		Forget(log)
		var err error
		if r, err = New(Config{Log: log, Logger: quiet(), Emit: func(context.Context, []pingline.Entry) error { return nil }}); err != nil {
			t.Fatal(err)
		}
		r.nextTurn = math.MaxInt64 // nothing is written
		rest = records
	}, func() {
		for i := range rest[:commits] {
			if err := r.take(t.Context(), &rest[i]); err != nil {
				t.Fatal(err)
			}
		}
		rest = rest[commits:]
	})
}
