package copying

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A pace never lets more rows pass than the rate says.
func TestPaceKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := newPacer(10_000, Gauges{})
		for range 5 {
			if err := p.wait(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 40*time.Millisecond { // the first does not wait
			t.Errorf("500 rows at 10,000/s passed in %v", took)
		}
		if err := newPacer(0, Gauges{}).wait(t.Context(), 1e6); err != nil || time.Since(began) != 40*time.Millisecond {
			t.Error(err)
		}
	})
}

// A store that takes twice as long as it did halves the rate, again and again; once it is as fast
// as before the rate grows back, and not beyond.
func TestPaceFollowsLatency(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := newPacer(16_000, Gauges{})
	observe := func(n int, a, b time.Duration) {
		for range n {
			now = now.Add(time.Second)
			p.observe(now, "a", a)
			p.observe(now, "b", b)
		}
	}
	const usual = 10 * time.Millisecond
	observe(100, usual, 3*usual)
	if p.rate != 16_000 || p.slowed() != "" {
		t.Fatalf("at first %v, %q", p.rate, p.slowed())
	}
	observe(100, usual*5/4, 3*usual)
	if p.rate != 16_000 {
		t.Errorf("a quarter more: %v", p.rate)
	}
	observe(7, usual, 9*usual)
	if p.rate != 8_000 || !strings.Contains(p.slowed(), "8000 rows/s, since b answers more slowly") {
		t.Errorf("b thrice as slow: %v, %q", p.rate, p.slowed())
	}
	observe(1000, usual, 9*usual)
	if p.rate != 16_000.0/leastOf {
		t.Errorf("b slow for long: %v", p.rate)
	}
	observe(12, usual, 3*usual)
	if p.rate <= 16_000.0/leastOf || p.slowed() == "" {
		t.Errorf("b as before: %v, %q", p.rate, p.slowed())
	}
	observe(100, usual, 3*usual)
	if p.rate != 16_000 || p.slowed() != "" {
		t.Errorf("b as before for long: %v, %q", p.rate, p.slowed())
	}
}

// Latencies that the node sees are asked for once a second.
func TestPaceAsksTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, took := 0, time.Millisecond
		p := newPacer(1000, Gauges{Latency: func() map[string]time.Duration { asked++; return map[string]time.Duration{"shard a": took} }})
		for i := range 400 {
			if i == 300 {
				took = 10 * time.Millisecond
			}
			if err := p.wait(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.Contains(p.slowed(), "shard a") || asked < 40 || asked > 400 {
			t.Errorf("asked %d times: %q", asked, p.slowed())
		}
	})
}
