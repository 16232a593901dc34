package limit

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slowStore is a store that serves writes on so many cores, shared among those
// that are there, behind a way of some length. It lives in a bubble of synctest.
type slowStore struct {
	way   time.Duration // there and back
	cores float64
	work  time.Duration // of a write, on a core
	noise float64       // work varies by that part

	mu   sync.Mutex
	busy int
	rnd  *rand.Rand
}

func (s *slowStore) write() {
	s.mu.Lock()
	way, work := s.way, float64(s.work)*(1+s.noise*(2*s.rnd.Float64()-1))
	s.mu.Unlock()
	time.Sleep(way)
	s.mu.Lock()
	s.busy++
	for work > 0 {
		const slice = 5 * time.Millisecond
		work -= float64(slice) * min(1, s.cores/float64(s.busy))
		s.mu.Unlock()
		time.Sleep(slice)
		s.mu.Lock()
	}
	s.busy--
	s.mu.Unlock()
}

// pass writes as much as a scheduler lets through for a time, and returns rows/s, how
// long a write took and how many there were at once, on average.
func (s *slowStore) pass(t *testing.T, g *Scheduler, d time.Duration) (rate, took, limit float64) {
	const rows = 5000
	var wg sync.WaitGroup
	var mu sync.Mutex
	n := 0
	end := time.Now().Add(d)
	for range 2 * MaxInFlight {
		wg.Go(func() {
			for time.Now().Before(end) {
				release, err := g.Acquire(t.Context(), Live, rows)
				if err != nil {
					t.Error(err)
					return
				}
				began := time.Now()
				s.write()
				mu.Lock()
				n++
				took += time.Since(began).Seconds()
				limit += float64(g.limiter.most())
				mu.Unlock()
				release(rows)
			}
		})
	}
	wg.Wait()
	return float64(n*rows) / d.Seconds(), took / float64(n), limit / float64(n)
}

// fixed is a scheduler that lets n through at once.
func fixed(n int) *Scheduler { return testScheduler(n) }

func adaptive() *Scheduler {
	g := testScheduler(0)
	g.limiter = newLimiter(5 * time.Second)
	return g
}

// With each store nearly as many rows get through as with eight
// writes at once, and a write takes about as long as with as few as that needs.
func TestLimiter(t *testing.T) {
	for _, tt := range []struct {
		name  string
		store *slowStore
		need  int // writes at once
	}{
		{"one core", &slowStore{cores: 1, work: 100 * time.Millisecond}, 1},
		{"one core, noisy", &slowStore{cores: 1, work: 100 * time.Millisecond, noise: 0.5}, 1},
		{"two cores", &slowStore{cores: 2, work: 100 * time.Millisecond, way: 2 * time.Millisecond, noise: 0.3}, 2},
		{"four cores", &slowStore{cores: 4, work: 100 * time.Millisecond, way: 2 * time.Millisecond, noise: 0.3}, 4},
		{"eight cores", &slowStore{cores: 8, work: 100 * time.Millisecond, way: 2 * time.Millisecond, noise: 0.3}, 8},
		{"far away, fast", &slowStore{cores: 1, work: 20 * time.Millisecond, way: 200 * time.Millisecond, noise: 0.3}, 8},
		{"far away, slow", &slowStore{cores: 1, work: 100 * time.Millisecond, way: 100 * time.Millisecond, noise: 0.3}, 4},
		{"far away, two cores", &slowStore{cores: 2, work: 100 * time.Millisecond, way: 100 * time.Millisecond, noise: 0.3}, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := tt.store
				store.rnd = rand.New(rand.NewPCG(1, 1))
				g := adaptive()
				store.pass(t, g, time.Minute)
				rate, took, limit := store.pass(t, g, 4*time.Minute)
				most, _, _ := store.pass(t, fixed(MaxInFlight), time.Minute)
				_, least, _ := store.pass(t, fixed(tt.need), time.Minute)
				t.Logf("%.1f at once: %.0f rows/s of %.0f, %.0f ms a write, with %d %.0f ms", limit, rate, most, 1000*took, tt.need, 1000*least)
				if rate < 0.8*most {
					t.Errorf("%.0f rows/s get through, eight at once would bring %.0f", rate, most)
				}
				if took > 1.5*least {
					t.Errorf("a write takes %.0f ms, with %d at once %.0f", 1000*took, tt.need, 1000*least)
				}
			})
		})
	}
}

// A store that changes is followed.
func TestLimiterFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowStore{cores: 1, work: 20 * time.Millisecond, way: 200 * time.Millisecond, rnd: rand.New(rand.NewPCG(2, 2))}
		g := adaptive()
		if store.pass(t, g, 20*time.Second); g.limiter.most() < 6 {
			t.Errorf("%d at once to a store far away", g.limiter.most())
		}
		store.way, store.work = 0, 100*time.Millisecond // another store at that address
		if store.pass(t, g, 2*time.Minute); g.limiter.most() > 2 {
			t.Errorf("%d at once to a store of one core", g.limiter.most())
		}
		store.work = 20 * time.Second // it drowns
		store.cores = 8
		g.limiter.set(8)
		if store.pass(t, g, 2*time.Minute); g.limiter.most() > 1 {
			t.Errorf("%d at once to a store that drowns", g.limiter.most())
		}
	})
}

// A write that nobody waits for, that fails or that is a probe teaches nothing.
func TestLimiterLearnsFromFullLoadOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, each := range map[string]func(*limiter){
			"nobody waits": func(p *limiter) { p.ended(5000, time.Second, false) },
			"it fails":     func(p *limiter) { p.ended(0, time.Second, true) },
		} {
			p := newLimiter(5 * time.Second)
			for range 1000 {
				time.Sleep(100 * time.Millisecond)
				each(p)
			}
			if p.limit != startLimit || p.rate != 0 {
				t.Errorf("%s: %+v", name, p)
			}
		}
		g := adaptive()
		g.half = func() bool { return true }
		for range 1000 {
			release, err := g.Acquire(t.Context(), Live, 100)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			release(100)
		}
		if n, limit := g.InFlight(); n != 0 || limit != 1 || g.limiter.limit != startLimit {
			t.Errorf("%d in flight of %d, limiter %+v", n, limit, g.limiter)
		}
	})
}
