package dedupe

import (
	"math"
	"slices"
	"testing"
	"time"

	"pingline"
)

func TestKnownOfARider(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxRiders = 3
	r := newRun(t, cfg, Bound{MaxError: 10})
	ping := func(rider, device string, at int64, lat float64, trip string) {
		t.Helper()
		p := pingline.Ping{Rider: rider, Device: device, Trip: trip, Fix: pingline.Fix{At: at}}
		if err := p.SetPosition(lat, 20); err != nil {
			t.Fatal(err)
		}
		r.now += time.Second
		r.judge(p)
	}
	check := func(what, rider string, want ...NewestKnown) {
		t.Helper()
		got := r.Known(nil, rider)
		for i := range got {
			got[i].Fix = pingline.Fix{At: got[i].Fix.At, LatE7: got[i].Fix.LatE7}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: known of %s is %+v, want %+v", what, rider, got, want)
		}
	}
	at := func(ms int64, lat int32) pingline.Fix { return pingline.Fix{At: ms, LatE7: lat} }

	const all = math.MaxInt64
	check("nothing sent", "a")
	ping("a", "", 1000, 41, "t-1")
	check("a first ping is stored", "a", NewestKnown{Fix: at(1000, 41e7), Trip: "t-1", Complete: all})
	ping("a", "", 2000, 41, "t-1")
	check("the next is held", "a", NewestKnown{Held: true, Fix: at(2000, 41e7), Trip: "t-1", Complete: 1001})
	ping("a", "watch", 500, 42, "")
	ping("a", "watch", 400, 43, "") // late
	check("a second device", "a",
		NewestKnown{Held: true, Fix: at(2000, 41e7), Trip: "t-1", Complete: 1001},
		NewestKnown{Device: "watch", Fix: at(500, 42e7), Complete: all})
	ping("a", "band", 700, 44, "")
	ping("b", "", 800, 45, "") // pushes out the longest silent
	check("the track without a device was forgotten", "a",
		NewestKnown{Device: "watch", Fix: at(500, 42e7), Complete: all},
		NewestKnown{Device: "band", Fix: at(700, 44e7), Complete: all})

	// A backlog keeps its segment open.
	ping("b", "", 600_000, 46, "")
	ping("b", "", 300_000, 45.05, "")
	check("an open backlog", "b", NewestKnown{Fix: at(600_000, 46e7), Complete: 801})

	r.Damaged(math.MinInt64)
	ping("b", "", 700_000, 47, "")
	for _, k := range r.Known(nil, "b") {
		if k.Fix.At != 700_000 {
			t.Errorf("after damage the newest known is %+v", k)
		}
	}
}
