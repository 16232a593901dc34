package reshard

import (
	"testing"

	"pingline/sink"
)

// Figures of a shard are those of all eras together, and none goes back when an era is passed: pings
// without attributes, too, of which a store counts some itself.
func TestFiguresOutlastAnEra(t *testing.T) {
	one := []sink.Stats{{Shard: "a", Written: 10, Retries: 1, Unkept: 2, Bare: 5, Lost: 2, Limit: 3, Breaker: 2}}
	two := []sink.Stats{{Shard: "a", Written: 20, Bare: 4, Lost: 3, Limit: 4}, {Shard: "b", Written: 1}}
	both := joinAll(joinAll(nil, two), one)
	var passed books
	passed.addStats(one)
	after := joinAll(joinAll(nil, two), passed.stats)
	for i, list := range [][]sink.Stats{both, after} {
		if a := list[0]; a.Written != 30 || a.Bare != 7 || a.Lost != 3 || a.Retries != 1 || a.Unkept != 2 || a.Gone {
			t.Errorf("%s: %+v", []string{"both run", "one is passed"}[i], a)
		}
	}
	if after[0].Breaker != 0 || after[0].Limit != 4 {
		t.Errorf("an era that is passed has a breaker: %+v", after[0])
	}
	passed.addStats(two)
	for _, st := range passed.stats {
		if !st.Gone {
			t.Errorf("nothing writes to %s any more", st.Shard)
		}
	}
}
