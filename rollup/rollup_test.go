package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pingline"
	"pingline/queue"
)

// The totals written in the end equal a count of each ping in every cell and
// window, for any resolutions and windows.
func TestEqualsRecount(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint("city ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			r := defaults
			if seed > 1 {
				r = [...]rules{
					{[]int{8}, []time.Duration{10 * time.Second}, 2 * time.Minute},
					{[]int{9, 7, 5, 0}, []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, 2 * time.Minute}, 30 * time.Second},
					{[]int{6, 4}, []time.Duration{7 * time.Second, 70 * time.Second}, time.Second},
				}[rng.IntN(3)]
			}
			commits := city{
				rng: rng, riders: 20 + rng.IntN(200), seconds: 100 + rng.IntN(200), every: 1 + rng.IntN(8),
				late: 0.1 * rng.Float64(), spread: 0.3 * rng.Float64(),
			}.commits()
			log := openLog(t, queue.Config{})
			s := newStore(t)
			ru := newRollup(t, log, r, s, nil)
			f, a := feed(t, ru), appender{log: log}
			for _, c := range commits {
				if err := a.append(testContext(t), c); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(3) > 0 {
					f.all()
				}
			}
			f.all()
			ru.turn(testContext(t), math.MaxInt64)
			want, late := r.recount(t, commits)
			s.equal(want)
			if len(want) < 50 {
				t.Errorf("%d totals show little", len(want))
			}
			stats := ru.Stats()
			if total := log.LastTotals()[pingline.TotalPings]; stats.Late != late || stats.Pings+stats.Late != total {
				t.Errorf("%d pings counted, %d late, want %d late of %d", stats.Pings, stats.Late, late, total)
			}
			checkStages(t, &stats, s, r)
			t.Logf("%d pings, %d late; %+v", stats.Pings, stats.Late, stats.Stages)
		})
	}
}

// checkStages checks that the books say how many lines of each stage were
// written, and how often again.
func checkStages(t *testing.T, stats *Stats, s *store, r rules) {
	t.Helper()
	writes := 0
	for i, stage := range stats.Stages {
		n := uint64(0)
		for k := range s.points {
			if k.res == stage.Res && k.window == Tidy(stage.Window) {
				n++
			}
		}
		if stage.Points-stage.Rewrites != n || stage.Withheld+stage.Lost != 0 {
			t.Errorf("the store has %d totals of the stage %+v", n, stage)
		}
		if want := float64(stats.Pings) / float64(stage.Points); stats.PingsPerPoint(i) != want {
			t.Errorf("%v pings a point, want %v", stats.PingsPerPoint(i), want)
		}
		writes += int(stage.Points)
	}
	if writes != s.writes || len(stats.Stages) != len(r.resolutions)*len(r.windows) {
		t.Errorf("%d stages wrote %d lines, want %d", len(stats.Stages), writes, s.writes)
	}
}
