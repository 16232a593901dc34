package ingest

import (
	"math"
	"math/rand/v2"
	"testing"

	"pingline"
)

// Against a list of all commits: never later than the truth, and at most a step
// earlier.
func TestPendingAgainstAModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var p pending
		p.reset(10)
		var model []step
		first := uint64(10)
		for n := uint64(10); n < 400; n++ {
			if rng.IntN(5) > 0 {
				at := int64(n)*50 - rng.Int64N(1+rng.Int64N(20_000))
				model = append(model, step{n, at})
				p.add(n, at)
			}
			if rng.IntN(20) == 0 {
				first += rng.Uint64N(n + 1 - first)
				p.passed(first)
			}
			next := first + rng.Uint64N(n+2-first)
			want := int64(math.MaxInt64)
			for _, s := range model {
				if s.number >= next {
					want = min(want, s.at)
				}
			}
			if got := p.before(next); got > want || got <= want-pendingStep {
				t.Fatalf("seed %d: before(%d) of commits to %d = %d, want %d or just before", seed, next, n, got, want)
			}
		}
		if got := p.before(first - 1); got != math.MinInt64 {
			t.Errorf("before a commit that is not known: %d", got)
		}
	}
}

func TestPendingIsSmall(t *testing.T) {
	var p pending
	for n := range uint64(3_600_000) { // an hour, 1,000 commits a second
		p.add(n, int64(n)-250)
	}
	if len(p.steps) > 36_010 {
		t.Errorf("%d steps for an hour", len(p.steps))
	}
}

func TestTimeOfAReadyLine(t *testing.T) {
	for line, want := range map[string]int64{
		"location,rider=r lat=1,lon=2 1760000000123":         1760000000123,
		`location,rider=r event="a b",lat=1 -5`:              -5,
		"location,rider=r lat=1,lon=2":                       math.MinInt64,
		"location,rider=r lat=1,lon=2 99999999999999999999 ": math.MinInt64,
	} {
		if got := lineTime(&pingline.Entry{Kind: pingline.Replayed, Line: line}); got != want {
			t.Errorf("%s: %d, want %d", line, got, want)
		}
	}
}
