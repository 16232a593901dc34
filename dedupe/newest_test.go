package dedupe

import (
	"fmt"
	"testing"
	"time"

	"pingline"
)

// newestOf returns the newest pings of all tracks with a ping since a stamp, by name.
func newestOf(t *testing.T, f *Filter, since uint64, part int) map[string]pingline.Fix {
	t.Helper()
	all := make(map[string]pingline.Fix)
	numbers := make(map[uint32]bool)
	for track, first := uint32(0), true; first || track != 0; first = false {
		var list []Newest
		list, track = f.Newest(nil, track, since, part)
		for _, n := range list {
			if numbers[n.Track] {
				t.Errorf("track %d is there twice", n.Track)
			}
			numbers[n.Track] = true
			all[n.Name] = n.Fix
		}
	}
	return all
}

func TestNewestOfAllTracks(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxRiders = 50
	r := newRun(t, cfg, Bound{MaxError: 10})
	send := func(rider, device string, at int64, lat float64) pingline.Fix {
		t.Helper()
		p := pingline.Ping{Rider: rider, Device: device, Fix: pingline.Fix{At: at}}
		if err := p.SetPosition(lat, 20); err != nil {
			t.Fatal(err)
		}
		p.SetOptional(pingline.HasSpeed, 7)
		p.SetOptional(pingline.HasHeading, 90)
		r.now += time.Second
		r.judge(p)
		return p.Fix
	}
	same := func(what string, got, want map[string]pingline.Fix) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %d tracks, want %d", what, len(got), len(want))
		}
		for name, fix := range want {
			if got[name] != fix {
				t.Errorf("%s: newest of %q is %+v, want %+v", what, name, got[name], fix)
			}
		}
	}
	want := make(map[string]pingline.Fix)
	for i := range 40 {
		rider := fmt.Sprint("r-", i)
		want[rider] = send(rider, "", 1000, 41)
		if i%2 == 0 { // held
			want[rider] = send(rider, "", 2000, 41)
		}
		if i%3 == 0 { // late
			send(rider, "", 500, 42)
		}
		if i%10 == 0 {
			want[rider+keySep+"watch"] = send(rider, "watch", 700, 43)
		}
	}
	same("all, in parts", newestOf(t, r.Filter, 0, 7), want)
	stamp := r.Stamp()
	same("nothing since", newestOf(t, r.Filter, stamp, 7), nil)
	want["r-1"] = send("r-1", "", 3000, 44)
	same("one since", newestOf(t, r.Filter, stamp, 7), map[string]pingline.Fix{"r-1": want["r-1"]})

	// Names that come push out names that were silent, and take their numbers.
	stamp = r.Stamp()
	came := make(map[string]pingline.Fix)
	for i := range 20 {
		name := fmt.Sprint("new-", i)
		send(name, "", 4000, 45)
		came[name] = send(name, "", 5000, 46)
	}
	same("new names", newestOf(t, r.Filter, stamp, 1000), came)
	if n := len(newestOf(t, r.Filter, 0, 1000)); n != cfg.MaxRiders {
		t.Errorf("%d tracks, want %d", n, cfg.MaxRiders)
	}
	if rider, device := RiderDevice("r" + keySep + "d"); rider != "r" || device != "d" {
		t.Errorf("names %q and %q", rider, device)
	}
}
