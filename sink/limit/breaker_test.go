package limit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pingline/sink/store"
)

// answers passes errors through b, half a second apart, and returns how many
// were tried. It is for a bubble of synctest.
func answers(b *Breaker, errs ...error) (tried int) {
	for i, err := range errs {
		if i > 0 {
			time.Sleep(time.Second / 2)
		}
		if !errors.Is(b.Write(func() error { return err }), ErrOpen) {
			tried++
		}
	}
	return tried
}

func TestBreaker(t *testing.T) {
	down := fmt.Errorf("write: %w", &store.Refusal{Kind: store.Retry, Err: errors.New("connection refused")})
	busy := fmt.Errorf("write: %w", &store.Refusal{Kind: store.Retry, Busy: true, Err: errors.New("429")})
	token := fmt.Errorf("write: %w", &store.Refusal{Kind: store.Configure, Err: errors.New("401")})
	row := fmt.Errorf("write: %w", &store.Refusal{Kind: store.BadRows, Err: errors.New("400")})
	stopped := fmt.Errorf("write: %w", context.Canceled)
	sick := append(slices.Repeat([]error{down}, 3), slices.Repeat([]error{nil}, 2)...)
	for _, tt := range []struct {
		name    string
		answers []error
		want    int
	}{
		{"new", nil, Closed},
		{"four failures", slices.Repeat([]error{down}, 4), Closed},
		{"five failures", slices.Repeat([]error{down}, 5), Open},
		{"five failures with a success among them", append(slices.Repeat([]error{down}, 4), nil, down), Closed},
		{"429 does not count", slices.Repeat([]error{busy}, 50), Closed},
		{"429 does not count as success either", append(slices.Repeat([]error{down}, 4), busy, down), Open},
		{"a refused token does not count", slices.Repeat([]error{token}, 50), Closed},
		{"a refused row does not count", slices.Repeat([]error{row}, 50), Closed},
		{"what we broke off does not count", slices.Repeat([]error{stopped}, 50), Closed},
		{"three of five fail", slices.Repeat(sick, 5), Open},
		{"three of five fail, but few were tried", slices.Repeat(sick, 3), Closed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewBreaker("a", 5*time.Second, time.Minute)
				answers(b, tt.answers...)
				if got := b.State(); got != tt.want {
					t.Errorf("state = %d, want %d", got, tt.want)
				}
			})
		})
	}
}

func TestBreakerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("a", time.Second, time.Minute)
		failed := &store.Refusal{Kind: store.Retry, Err: errors.New("down")}
		for range 30 { // 15 failures and 15 successes, but over ten minutes
			answers(b, failed, nil)
			time.Sleep(20 * time.Second)
		}
		if b.State() != Closed {
			t.Error("failures of long ago opened it")
		}
	})
}

func TestBreakerProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("a", 5*time.Second, time.Minute)
		down := &store.Refusal{Kind: store.Retry, Err: errors.New("down")}
		answers(b, slices.Repeat([]error{down}, 5)...)
		if n := answers(b, nil); n != 0 {
			t.Error("an open breaker let a write through")
		}
		if n := b.Most(5000); n != 5000 {
			t.Errorf("most = %d while open", n)
		}
		time.Sleep(5*time.Second + 1)
		if b.State() != HalfOpen || b.Most(5000) != ProbeRows || b.Most(3) != 3 {
			t.Errorf("after its time: state %d, most %d", b.State(), b.Most(5000))
		}
		under := make(chan struct{})
		probe := make(chan error)
		go func() { probe <- b.Write(func() error { <-under; return down }) }()
		synctest.Wait()
		if n := answers(b, nil); n != 0 {
			t.Error("a second probe went out beside the first")
		}
		close(under)
		<-probe
		if b.State() != Open {
			t.Error("a failed probe did not open it again")
		}
		time.Sleep(5*time.Second + 1)
		if answers(b, nil); b.State() != Closed {
			t.Error("a good probe did not close it")
		}
	})
}

// A write that was taken too late counts as failure, but is taken.
func TestBreakerOpensOnSlowness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("a", 5*time.Second, 3*time.Second)
		takes := func(d time.Duration) {
			t.Helper()
			if err := b.Write(func() error { time.Sleep(d); return nil }); err != nil {
				t.Errorf("a write that took %v: %v", d, err)
			}
		}
		for range 50 {
			takes(3 * time.Second)
		}
		for range 4 {
			takes(4 * time.Second)
		}
		takes(time.Second)
		if b.State() != Closed || b.NotClosed() != 0 {
			t.Fatal("it opened, though not five in a row were slow")
		}
		for range 5 {
			takes(4 * time.Second)
		}
		if b.State() != Open {
			t.Fatal("five slow writes in a row did not open it")
		}
		time.Sleep(5*time.Second + 1)
		if open := b.NotClosed(); b.State() != HalfOpen || open < 5*time.Second || open > 6*time.Second {
			t.Errorf("after five seconds: state %d, open for %v", b.State(), open)
		}
		takes(4 * time.Second)
		if b.State() != Open || b.NotClosed() < 9*time.Second {
			t.Errorf("after a slow probe: state %d, open for %v", b.State(), b.NotClosed())
		}
		time.Sleep(5*time.Second + 1)
		takes(time.Second)
		if b.State() != Closed || b.NotClosed() != 0 {
			t.Errorf("after a quick probe: state %d, open for %v", b.State(), b.NotClosed())
		}
	})
}

// All that is under way breaks at once: the next ones are tried.
func TestBreakerStandsABlip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker("a", 5*time.Second, time.Minute)
		fail := func() {
			_ = b.Write(func() error { return &store.Refusal{Kind: store.Retry, Err: errors.New("down")} })
		}
		for range MaxInFlight {
			fail()
		}
		if b.State() != Closed {
			t.Error("one moment opened it")
		}
		time.Sleep(time.Second)
		if fail(); b.State() != Open {
			t.Error("failing for a second did not open it")
		}
	})
}
