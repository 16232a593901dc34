package dedupe

import (
	"fmt"
	"math"
	"testing"

	"pingline"
)

// ofDevice is a ping of second(at) from a device of r-1, and others from riders of
// their own.
func ofDevice(rider, device string, at int) pingline.Ping {
	p := second(at)
	p.Rider, p.Device = rider, device
	return p
}

// A rider has at most MaxDevices devices: the longest silent makes room, what it
// holds is stored, and the bound holds for what was dropped of it.
func TestRiderWithManyDevices(t *testing.T) {
	r := newRun(t, bare(), Bound{MaxError: 10})
	for n := range 5 * MaxDevices {
		device := fmt.Sprint("d-", n)
		for at := range 3 { // the second is dropped, the third held
			r.judge(ofDevice("r-1", device, 10*n+at))
		}
		if known := len(r.Known(nil, "r-1")); known != min(n+1, MaxDevices) || r.Riders() != known || r.Holding() != known {
			t.Fatalf("after %d devices %d are known, %d tracks, %d held", n+1, known, r.Riders(), r.Holding())
		}
	}
	if n := r.Counts().Evicted; n != 4*MaxDevices {
		t.Errorf("%d tracks were forgotten, want %d", n, 4*MaxDevices)
	}
	// An old device that comes back goes on as a new track behind what was
	// forgotten, and late before it.
	late := r.Counts().Late
	r.judge(off(ofDevice("r-1", "d-0", 1), 500))
	if r.Counts().Late != late+1 {
		t.Error("a ping before what was dropped of a forgotten device is not late")
	}
	r.judge(ofDevice("r-1", "d-0", 1000))
	r.judge(ofDevice("r-1", "d-0", 1001))
	if r.Counts().Late != late+1 {
		t.Error("a forgotten device that goes on is late")
	}
	// Nobody else's new track is late for it.
	r.judge(ofDevice("r-2", "", 1))
	r.judge(ofDevice("r-2", "d-0", 1))
	if r.Counts().Late != late+1 {
		t.Error("one rider's devices make another rider's new track late")
	}
	r.finish()
}

// What was forgotten of a rider's devices survives a restart, and counts for all
// once the rider has no track of that kind any more.
func TestForgottenDevicesAreRemembered(t *testing.T) {
	cfg := bare()
	cfg.MaxRiders = 100
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	judge := func(f *Filter, p pingline.Ping) pingline.Entry {
		e := pingline.Entry{Ping: p}
		f.Judge(&b, &e, Bound{MaxError: 10}, 1, 0)
		return e
	}
	for n := range MaxDevices + 1 {
		judge(f, ofDevice("r-1", fmt.Sprint("d-", n), 100-n))
	}
	if f.forgot.Said != math.MinInt64 {
		t.Errorf("all tracks must be later than %d", f.forgot.Said)
	}
	restored, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	piece, _ := f.Snapshot().Next(nil, 1)
	if err := restored.Load(piece); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*Filter{"as it was": f, "restored": restored} {
		if e := judge(f, ofDevice("r-1", "d-0", 99)); !e.Late {
			t.Errorf("%s: a ping of a forgotten device from before it was forgotten is not late", name)
		}
		if e := judge(f, ofDevice("r-2", "d-0", 99)); e.Late {
			t.Errorf("%s: another rider's new track is late", name)
		}
		for n := range cfg.MaxRiders {
			judge(f, ofDevice(fmt.Sprint("q-", n), "", 200))
		}
		if n := len(f.Known(nil, "r-1")); n > 0 {
			t.Fatalf("%s: %d devices are known", name, n)
		}
		if e := judge(f, ofDevice("r-1", "d-0", 100)); !e.Late {
			t.Errorf("%s: once no device is known, a forgotten one begins anew where it was", name)
		}
	}
}

// A log of more devices than are known now is replayed without losing what they
// hold.
func TestReplayOfMoreDevicesThanAreKnown(t *testing.T) {
	var entries []pingline.Entry
	held := 0
	for n := range 3 * MaxDevices {
		for at, kind := range []uint8{first, next} {
			e := pingline.Entry{Ping: ofDevice("r-1", fmt.Sprint("d-", n), at), State: kind, Verdict: pingline.Accepted}
			if kind == next {
				e.Verdict = pingline.Held
				held++
			}
			entries = append(entries, e)
		}
	}
	// All first ones before all held ones, as when no device was too many.
	f, err := New(bare())
	if err != nil {
		t.Fatal(err)
	}
	var begun, goneOn []pingline.Entry
	for i, e := range entries {
		if i%2 == 0 {
			begun = append(begun, e)
		} else {
			goneOn = append(goneOn, e)
		}
	}
	f.Replay(1, Bound{MaxError: 10}, begun)
	f.Replay(2, Bound{MaxError: 10}, goneOn)
	if f.Holding() != held {
		t.Errorf("%d pings are held, want %d", f.Holding(), held)
	}
	var b Batch
	for f.Flush(&b, 1000) {
	}
	if len(b.Entries) != held {
		t.Errorf("%d pings are stored in the end, want %d", len(b.Entries), held)
	}
}
