package dedupe

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline"
)

// onTrips gives each n pings in a row the next trip.
func onTrips(pings []pingline.Ping, n int) []pingline.Ping {
	for i := range pings {
		pings[i].Trip = fmt.Sprintf("t%d", i/n)
	}
	return pings
}

// Each trip is on a stored point, however few its pings, in whatever order they
// come, whatever is sent again, and although a straight line would do for all.
func TestNoTripVanishes(t *testing.T) {
	for _, length := range []int{1, 2, 3, 10, 100} {
		for _, scene := range scenes {
			for _, o := range arrivalOrders {
				t.Run(fmt.Sprintf("trips of %d, %s, %s", length, scene.name, o.name), func(t *testing.T) {
					for _, cfg := range []Config{DefaultConfig(), bare(), {MaxRiders: 10}} {
						rng := rand.New(rand.NewPCG(1, 2))
						pings := scene.play(onTrips(straight(0, 900), length), func(p []pingline.Ping) []pingline.Ping { return o.order(p, rng) })
						r := newRun(t, cfg, Bound{MaxError: 10})
						r.judgeAll(pings)
						kept := r.reader.points("r-1/")
						if cfg.RecentBytes > 0 {
							r.judgeAgain(pings)
						}
						r.finish()
						if trips := 900 / length; cfg.RecentBytes > 0 && length > 3 && o.more > 0 && kept > 4*trips+200 {
							t.Errorf("%d trips keep %d points", trips, kept)
						}
					}
				})
			}
		}
	}
}

// A trip of one ping is stored even if that ping is on a fix that is known.
func TestTripOnAKnownFixIsStored(t *testing.T) {
	on := func(p pingline.Ping, trip string) pingline.Ping { p.Trip = trip; return p }
	for _, at := range []int{0, 4, 8} { // stored, dropped, held
		r := newRun(t, bare(), Bound{MaxError: 10})
		for _, p := range straight(0, 9) {
			r.judge(on(p, "t0"))
		}
		if v := r.judge(on(second(at), "t1")); v != pingline.Accepted {
			t.Errorf("a fix that is known, in another trip, is %v", v)
		}
		for _, p := range straight(0, 9) {
			if v := r.judge(on(p, "t0")); v != pingline.Duplicate && v != pingline.Redundant {
				t.Errorf("a ping of the trip before, sent again, is %v", v)
			}
		}
		r.finish()
	}
}

// An event of another trip does not take the place of the point that bears its own.
func TestEventOfAnotherTripIsApart(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	p := second(0)
	p.Trip = "t0"
	r.judge(p)
	p.Trip, p.Event = "t1", "sos"
	r.judge(p)
	r.finish()
}

// A trip's first ping is stored at once, and so is the first behind it.
func TestChangeOfTripIsStoredAtOnce(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	var got []pingline.Verdict
	for i, trip := range []string{"", "", "a", "a", "a", "", "", "a"} {
		p := second(i)
		p.Trip = trip
		got = append(got, r.judge(p))
	}
	want := []pingline.Verdict{pingline.Accepted, pingline.Held, pingline.Accepted, pingline.Held, pingline.Held, pingline.Accepted, pingline.Held, pingline.Accepted}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
	r.finish()
}

// A ping that an older version held may be the only one of its trip.
func TestHeldPingOfVersion1KeepsItsTrip(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	entries := []pingline.Entry{{Ping: second(0), Verdict: pingline.Accepted, State: first}, {Ping: second(1), Verdict: pingline.Held, State: next}}
	entries[1].Trip = "t1"
	r.reader.log(entries)
	r.Replay(1, r.bound, entries)
	for i := range 2 {
		p := second(2 + i)
		p.Trip = "t1"
		r.judge(p)
	}
	p := second(4)
	p.Trip = "t2"
	r.judge(p)
	r.finish()
}
