package rollup

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"testing"

	"pingline"
	"pingline/queue"
)

// A set, filled and merged in any way, counts what a map does: exactly up to
// exactRiders, within 2 % beyond.
func TestRiders(t *testing.T) {
	seed := maphash.MakeSeed()
	m := newMemory(1 << 20)
	for _, n := range []int{0, 1, 3, 4, 100, 1000, 5999, 6000, 6001, 10_000, 100_000} {
		rng := rand.New(rand.NewPCG(uint64(n), 1))
		model, union := map[string]bool{}, riders{}
		for range 3 { // the second and third time some of them again
			var part riders
			for _, i := range rng.Perm(n)[len(model)/2:] {
				name := fmt.Sprint("rider ", i)
				rider := riderHash(seed, name)
				if rng.IntN(4) == 0 {
					rider |= movingBit
				}
				part.add(&m, rider)
				model[name] = model[name] || rider&movingBit != 0
			}
			union.union(&m, &part)
			part.reset(&m)
		}
		moving := 0
		for _, m := range model {
			if m {
				moving++
			}
		}
		all, moved := union.count()
		off := max(math.Abs(float64(all)-float64(len(model))), math.Abs(float64(moved)-float64(moving)))
		if len(model) <= exactRiders && off > 0 || off > 0.02*float64(len(model)) {
			t.Errorf("%d riders, %d moving, want %d and %d", all, moved, len(model), moving)
		}
		t.Logf("%d riders: off by %v", len(model), off)
		union.reset(&m)
		if m.used != 0 {
			t.Fatalf("%d bytes are still in use", m.used)
		}
	}
	if m.spare == 0 || m.spare > m.most {
		t.Errorf("%d bytes are spare", m.spare)
	}
}

// Merging estimators is the same as filling one.
func TestSketchMerges(t *testing.T) {
	seed := maphash.MakeSeed()
	var m memory
	var whole riders
	parts := make([]riders, 7)
	for i := range 40_000 {
		rider := riderHash(seed, fmt.Sprint(i))
		whole.add(&m, rider)
		parts[i%len(parts)].add(&m, rider)
	}
	var sum riders
	for i := range parts {
		sum.union(&m, &parts[i])
	}
	got, _ := sum.count()
	if want, _ := whole.count(); got != want {
		t.Errorf("the parts together count %d, the whole %d", got, want)
	}
}

// The standard error of the library's estimator is what theory says, so that 2 %
// are five of it.
func TestSketchError(t *testing.T) {
	const estimators, n = 60, 20_000
	var m memory
	square := 0.0
	for range estimators {
		seed := maphash.MakeSeed()
		s := m.estimator()
		for i := range n {
			s.add(riderHash(seed, fmt.Sprint(i)))
		}
		off := float64(s.all.Estimate())/n - 1
		square += off * off
		m.freeEstimator(s)
	}
	off := math.Sqrt(square / estimators)
	t.Logf("standard error %.2f %%", 100*off)
	if off > 0.008 {
		t.Errorf("standard error %.2f %%, want 0.4", 100*off)
	}
}

// A crowd of many thousands in few cells is counted within 2 %, in every
// resolution and window.
func TestManyRiders(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var commits []commit
	for s := range 70 {
		c := commit{at: start + int64(s)*1000 + 900}
		for range 2000 {
			e := pingline.Entry{Ping: pingline.Ping{Rider: fmt.Sprint("r-", rng.IntN(30_000))}, Verdict: pingline.Accepted}
			e.At = start + int64(s)*1000 + rng.Int64N(900)
			e.LatE7, e.LonE7 = 411_500_000+rng.Int32N(100_000), -86_290_000+rng.Int32N(100_000)
			e.SetOptional(pingline.HasSpeed, 2*rng.Float64())
			c.entries = append(c.entries, e)
		}
		commits = append(commits, c)
	}
	log := openLog(t, queue.Config{})
	a, s := appender{log: log}, newStore(t)
	r := newRollup(t, log, defaults, s, nil)
	f := feed(t, r)
	for _, c := range commits {
		if err := a.append(testContext(t), c); err != nil {
			t.Fatal(err)
		}
		f.all()
	}
	r.turn(testContext(t), math.MaxInt64)
	want, _ := defaults.recount(t, commits)
	s.equal(want)
	beyond := 0
	for _, p := range want {
		if p.riders > exactRiders {
			beyond++
		}
	}
	t.Logf("%d of %d totals have more than %d riders", beyond, len(want), exactRiders)
	if beyond < 10 {
		t.Error("too few to show anything")
	}
}
