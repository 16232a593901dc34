package watermark

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Against a list of all commits: never later than the truth, and at most a step
// earlier.
func TestPendingAgainstAModel(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 3))
		var p Earliest
		p.Reset(10)
		var model []step
		first := uint64(10)
		for n := uint64(10); n < 400; n++ {
			if rng.IntN(5) > 0 {
				at := int64(n)*50 - rng.Int64N(1+rng.Int64N(20_000))
				model = append(model, step{n, at})
				p.Add(n, at)
			}
			if rng.IntN(20) == 0 {
				first += rng.Uint64N(n + 1 - first)
				p.Advance(first, first)
			}
			next := first + rng.Uint64N(n+2-first)
			want := int64(math.MaxInt64)
			for _, s := range model {
				if s.number >= next {
					want = min(want, s.at)
				}
			}
			if got := p.At(next); got > want || got <= want-leastWidth {
				t.Fatalf("seed %d: before(%d) of commits to %d = %d, want %d or just before", seed, next, n, got, want)
			}
		}
		if got := p.At(first - 1); got != math.MinInt64 {
			t.Errorf("before a commit that is not known: %d", got)
		}
	}
}

// Whatever times commits have, their steps are few, they tell no later a time
// than the truth, and none that is earlier by more than a small part of the span.
func TestPendingIsSmall(t *testing.T) {
	const commits = 1_000_000
	rng := rand.New(rand.NewPCG(1, 2))
	for name, at := range map[string]func(n int64) int64{
		"an hour in order":             func(n int64) int64 { return n * 4 },
		"a backlog, a step in each":    func(n int64) int64 { return n * leastWidth },
		"a backlog of days":            func(n int64) int64 { return n * 10_000 },
		"years, now and then":          func(n int64) int64 { return n*1000 + n/1000*1_000_000_000 },
		"a backlog beside what is new": func(n int64) int64 { return n*300 - n%2*200 },
		"a jump to the end of time":    func(n int64) int64 { return n*leastWidth + n/(commits-1)*(math.MaxInt64/2) },
		"from the beginning of time":   func(n int64) int64 { return n*leastWidth - (1-min(n, 1))*math.MaxInt64 },
		"clouds in order":              func(n int64) int64 { return n/10_000*100_000_000 + rng.Int64N(10_000) },
	} {
		t.Run(name, func(t *testing.T) {
			var p Earliest
			p.Reset(0)
			truth := make([]int64, commits)
			for n := range int64(commits) {
				truth[n] = at(n)
				p.Add(uint64(n), truth[n])
				if len(p.steps) > maxSteps || cap(p.steps) > 2*maxSteps {
					t.Fatalf("%d steps, room for %d, after %d commits", len(p.steps), cap(p.steps), n)
				}
				if n%1000 == 0 {
					next := uint64(max(0, n-commits/2))
					p.Advance(next, next)
				}
			}
			for n := commits - 2; n >= 0; n-- {
				truth[n] = min(truth[n], truth[n+1])
			}
			span := uint64(truth[commits-1]) - uint64(truth[1])
			for n := uint64(commits / 2); n < commits; n += 997 {
				got, want := p.At(n), truth[n]
				if early := uint64(want) - uint64(got); got > want || early > leastWidth+span/(maxSteps/8) {
					t.Fatalf("before(%d) = %d, want %d or a little before", n, got, want)
				}
			}
		})
	}
}

// A store that is away is told apart from those that are not: while there is room its commits
// are known too, and then the steps for the rest do not get coarser.
func TestWatermarkBesideAStoreThatIsAway(t *testing.T) {
	var p Earliest
	p.Reset(1)
	for n := range int64(3 * maxSteps) {
		p.Add(uint64(n+1), n*leastWidth)
		p.Advance(uint64(n), 1)
		if n == maxSteps/4 && p.At(2) != leastWidth {
			t.Errorf("of the store that is away at is %d, want %d", p.At(2), leastWidth)
		}
	}
	if at := p.At(3*maxSteps - 1); p.width != leastWidth || at != (3*maxSteps-2)*leastWidth {
		t.Errorf("steps of %d ms, at %d", p.width, at)
	}
	if at := p.At(2); at != math.MinInt64 {
		t.Errorf("at %d of a commit that is forgotten", at)
	}
}
