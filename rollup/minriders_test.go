package rollup

import (
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"pingline/partition"
	"pingline/queue"
)

// Of cells and windows with fewer riders than MinRiders there is no total, at no
// resolution, neither stored nor shown; all others are whole.
func TestCellsOfFewRiders(t *testing.T) {
	const least = 3
	commits := city{rng: rand.New(rand.NewPCG(3, 1)), riders: 120, seconds: 200, every: 3, late: 0.05, spread: 0.05}.commits()
	log := openLog(t, queue.Config{})
	s := newStore(t)
	ru := newRollup(t, log, defaults, s, func(c *Config) { c.MinRiders = least })
	f, a := feed(t, ru), appender{log: log}
	for _, c := range commits {
		if err := a.append(testContext(t), c); err != nil {
			t.Fatal(err)
		}
		f.all()
	}
	for res := range defaults.resolutions {
		list, err := ru.Cells(partition.Box{West: -180, South: -90, East: 180, North: 90}, defaults.resolutions[res], 100_000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			if list[i].Riders < least {
				t.Errorf("a cell of %d riders is shown", list[i].Riders)
			}
		}
	}
	ru.turn(testContext(t), math.MaxInt64)
	want, _ := defaults.recount(t, commits)
	all := len(want)
	maps.DeleteFunc(want, func(_ key, p point) bool { return p.riders < least })
	if len(want) < 20 || all-len(want) < 20 {
		t.Fatalf("%d totals of enough riders, %d of too few show little", len(want), all-len(want))
	}
	s.equal(want)
	t.Logf("%d totals are stored, %d are of fewer than %d riders", len(want), all-len(want), least)
}
