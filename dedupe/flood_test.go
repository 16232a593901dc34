package dedupe

import (
	"fmt"
	"math"
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

// floods are riders that nobody has seen before, as they come in at a time.
var floods = []struct {
	name  string
	pings func(n int, now int64) []pingline.Ping // of the n-th
}{
	{"of now", func(n int, now int64) []pingline.Ping { return []pingline.Ping{flooder(n, now)} }},
	{"ahead of now", func(n int, now int64) []pingline.Ping { return []pingline.Ping{flooder(n, now+110_000)} }},
	{"of long ago", func(n int, now int64) []pingline.Ping { return []pingline.Ping{flooder(n, now-3_600_000)} }},
	{"who send twice", func(n int, now int64) []pingline.Ping {
		return []pingline.Ping{flooder(n, now), flooder(n, now+1)}
	}},
	{"of long ago and of now", func(n int, now int64) []pingline.Ping {
		return []pingline.Ping{flooder(n, now-3_600_000), flooder(n, now)}
	}},
	{"with devices, trips and events", func(n int, now int64) []pingline.Ping {
		p := flooder(n, now-int64(n%2)*1000)
		p.Device, p.Trip, p.Event = "d", fmt.Sprint("t-", n), []string{"", "sos"}[n/2%2]
		return []pingline.Ping{p}
	}},
}

func flooder(n int, at int64) pingline.Ping {
	return pingline.Ping{Rider: fmt.Sprint("flood-", n), Fix: pingline.Fix{At: at}}
}

// Of a rider who is new while others flood the filter the first ping may be late,
// because the rider may have been forgotten before. All that follow are as they always
// are, through a restart, too.
func TestNewRiderDuringAFlood(t *testing.T) {
	for _, flood := range floods {
		for _, device := range []string{"", "phone-2"} {
			t.Run(fmt.Sprintf("%s, device %q", flood.name, device), func(t *testing.T) {
				cfg := bare()
				cfg.MaxRiders = 200
				r := newRun(t, cfg, Bound{MaxError: 10})
				n := 0
				pour := func(at, riders int) { // they come in just before second at
					now := second(at).At
					r.Clock(now)
					for range riders {
						r.judgeAll(flood.pings(n, now))
						n++
					}
				}
				pour(0, 3*cfg.MaxRiders)
				for at := range 60 {
					pour(5*at, 15)
					p := of("honest", device, second(5*at))
					p.At -= 2000 // on its way
					p.Trip = "t"
					late, riders := r.Counts().Late, r.Riders()
					v := r.judge(p)
					if isLate := r.Counts().Late != late; isLate && at > 0 || at > 1 && v != pingline.Held {
						t.Fatalf("ping %d of a new rider is %v, late %v", at, v, isLate)
					}
					if r.Riders() > max(riders, cfg.MaxRiders) {
						t.Fatalf("%d tracks are known", r.Riders())
					}
					if at%7 == 0 {
						r.reborn()
					}
				}
				r.finish()
			})
		}
	}
}

// Of a track that has only late pings nothing is known but that, and when it is
// forgotten nobody else's pings become late.
func TestTrackWithoutVertices(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 2
	r := newRun(t, cfg, Bound{MaxError: 10})
	r.Forgot(second(10).At)
	p := withEvent(second(5), "sos")
	r.judge(p)
	if newest, dup := r.Look(&pingline.Entry{Ping: second(5)}); newest != math.MinInt64 || dup || len(r.Known(nil, "r-1")) > 0 || !r.Has(&p) {
		t.Errorf("newest known is %d, duplicate %v, known %v", newest, dup, r.Known(nil, "r-1"))
	}
	if v := r.judge(p); v != pingline.Duplicate {
		t.Errorf("an event sent again is %v", v)
	}
	r.reborn()
	r.judge(second(10))
	r.judge(of("b", "", second(11)))
	r.judge(of("c", "", second(4)))
	if r.Riders() != 2 || r.forgot.Said != second(10).At {
		t.Errorf("%d tracks, and first vertices must be later than %d", r.Riders(), r.forgot.Said)
	}
	r.judge(of("c", "", second(11)))
	if r.Counts().Late != 2 { // since the restart
		t.Errorf("%d pings are late, want 2", r.Counts().Late)
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
