package dedupe

import (
	"testing"

	"pingline"
)

// A rider who is erased is new: with other devices and a backlog, too; no other rider
// notices, and none becomes late.
func TestErase(t *testing.T) {
	cfg := DefaultConfig()
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	judge := func(rider, device string, at int64, lat float64) pingline.Verdict {
		e := pingline.Entry{Ping: pingline.Ping{Rider: rider, Device: device, Fix: pingline.Fix{At: at}}}
		if err := e.SetPosition(lat, 29); err != nil {
			t.Fatal(err)
		}
		v, _ := f.Judge(&b, &e, Bound{MaxError: 10}, 1, 0)
		b.Reset()
		return v
	}
	f.Clock(2_000_000)
	for at := range int64(10) {
		for _, rider := range []string{"r-1", "r-2"} {
			judge(rider, "", 1_000_000+at*1000, 41+float64(at)/1e5)
			judge(rider, "watch", 1_000_000+at*1000, 41+float64(at)/1e5)
		}
	}
	if tracks, held := f.Erase("r-1"); tracks != 2 || held != 2 || f.Holding() != 2 || f.Riders() != 2 {
		t.Errorf("%d tracks and %d held pings went, %d and %d are left", tracks, held, f.Riders(), f.Holding())
	}
	if tracks, held := f.Erase("r-1"); tracks != 0 || held != 0 {
		t.Errorf("%d tracks and %d held pings went of a rider who is not known", tracks, held)
	}
	if known := f.Known(nil, "r-1"); len(known) != 0 {
		t.Errorf("known: %+v", known)
	}
	if known := f.Known(nil, "r-2"); len(known) != 2 || !known[0].Held {
		t.Errorf("of another rider: %+v", known)
	}
	for _, device := range []string{"", "watch", "new"} {
		if v := judge("r-1", device, 900_000, 50); v != pingline.Accepted {
			t.Errorf("the first ping of %q, before all that was erased: %v", device, v)
		}
	}
	if late := f.Counts().Late; late != 0 {
		t.Errorf("%d pings are late", late)
	}
	if v := judge("r-3", "", 800_000, 50); v != pingline.Accepted || f.Counts().Late != 0 {
		t.Errorf("another new rider: %v, %d late", v, f.Counts().Late)
	}
}
