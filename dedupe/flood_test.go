package dedupe

import (
	"fmt"
	"testing"

	"pingline"
)

// A flood of riders who send once pushes out those, and nobody who sends more.
func TestFloodForgetsItself(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 200
	r := newRun(t, cfg, Bound{MaxError: 10})
	fleet := cfg.MaxRiders - cfg.MaxRiders/onceShare
	for at := range 3 {
		for n := range fleet {
			r.judge(of(fmt.Sprint("fleet-", n), "", second(at)))
		}
	}
	for n := range 50 * cfg.MaxRiders {
		r.judge(of(fmt.Sprint("flood-", n), "", second(3)))
		if n%100 == 0 { // one of the fleet now and then
			r.judge(of("fleet-0", "", second(10+n/100)))
		}
	}
	for n := range fleet {
		if len(r.Known(nil, fmt.Sprint("fleet-", n))) == 0 {
			t.Fatalf("fleet-%d is forgotten", n)
		}
	}
	if r.Riders() != cfg.MaxRiders {
		t.Errorf("%d tracks are known, want %d", r.Riders(), cfg.MaxRiders)
	}
	r.finish()
}

// Of riders who send more than once the longest silent goes, as it did.
func TestLongestSilentIsForgotten(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 100
	r := newRun(t, cfg, Bound{MaxError: 10})
	name := func(n int) string { return fmt.Sprint("r-", n) }
	for n := range 2 * cfg.MaxRiders {
		r.judge(of(name(n), "", second(2*n)))
		r.judge(of(name(n), "", second(2*n+1)))
	}
	for n := range 2 * cfg.MaxRiders {
		if got, want := len(r.Known(nil, name(n))) > 0, n >= cfg.MaxRiders; got != want {
			t.Errorf("rider %d is known: %v, want %v", n, got, want)
		}
	}
	r.finish()
}

// A vertex of a track that was forgotten lies on the line that readers draw, even
// if nothing was dropped of it: one put before it, as if the track were new, would
// make the filter draw another line. So an older ping is late, whatever was
// forgotten.
func TestForgottenVertexStaysOnTheLine(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 1
	r := newRun(t, cfg, Bound{MaxError: 10})
	r.judge(of("a", "", off(second(10), 5000))) // all there is of a
	r.judge(of("b", "", second(10)))            // a is forgotten
	e := pingline.Entry{Ping: of("a", "", second(0))}
	r.Judge(&r.batch, &e, r.bound, 0, r.now)
	if !e.Late {
		t.Error("a ping before a forgotten vertex is a vertex")
	}
	r.drain()
	r.judgeAll([]pingline.Ping{of("a", "", second(20)), of("a", "", second(25)), of("a", "", second(30))})
	r.finish()
}
