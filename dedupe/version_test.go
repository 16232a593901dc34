package dedupe

import (
	"os"
	"path/filepath"
	"testing"

	"pingline"
)

// A piece of a checkpoint as a version before wrote it is read, and what was answered
// before holds, although version 1 does not say how far off a held ping may be, and
// none before 4 tells of its trip.
func TestCheckpointsOfVersionsBefore(t *testing.T) {
	for _, name := range []string{"piece-v1", "piece-v2"} {
		t.Run(name, func(t *testing.T) {
			piece, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			r := newRun(t, DefaultConfig(), Bound{MaxError: 10, AccuracyCap: 50})
			r.playVersion1()
			f, err := New(r.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Load(piece); err != nil {
				t.Fatal(err)
			}
			f.endLoad()
			if f.Riders() != 5 || f.Holding() != 6 {
				t.Fatalf("%d tracks with %d pings held, want 5 with 6", f.Riders(), f.Holding())
			}
			r.Filter = f
			r.playVersion1() // sent again
			for i := 8; i < 100; i++ {
				r.judge(of("backlog", "", second(i)))
			}
			for i := 51; i < 100; i++ {
				r.judge(of("alone", "", off(second(i), 300)))
			}
			for i := 49; i > 0; i-- {
				r.judge(of("alone", "", off(second(i), -300)))
			}
			e := pingline.Entry{Ping: of("held", "", second(-1))}
			if r.Judge(&r.batch, &e, r.bound, 0, 0); e.Late != (name == "piece-v1") {
				t.Errorf("a ping before all that is known is late: %v", e.Late)
			}
			r.drain()
			r.finish()
		})
	}
}

// A piece of version 5 does not tell what a broken track's first vertex must be later
// than: it must be later than what a new track's must.
func TestBrokenTracksOfVersionsBefore(t *testing.T) {
	piece, err := os.ReadFile(filepath.Join("testdata", "piece-v5"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(t, DefaultConfig(), Bound{MaxError: 10, AccuracyCap: 50})
	if err := r.Load(piece); err != nil {
		t.Fatal(err)
	}
	r.Clock(second(1000).At)
	for _, name := range []string{"gone", "held", "broken"} { // the first without points
		late := r.Counts().Late
		for _, at := range []int{58, 60} {
			r.judge(of(name, "", second(at)))
		}
		if n := r.Counts().Late - late; n != 2 {
			t.Errorf("%d of 2 pings of %s from before the damage are late", n, name)
		}
		r.judgeAll([]pingline.Ping{of(name, "", second(71)), of(name, "", second(72))})
		if n := r.Counts().Late - late; n != 2 {
			t.Errorf("%s does not begin anew behind the damage", name)
		}
	}
}

// of makes p one of another track.
func of(rider, device string, p pingline.Ping) pingline.Ping {
	p.Rider, p.Device = rider, device
	return p
}

// playVersion1 sends what the filter had judged when it wrote testdata/piece-v1.
func (r *run) playVersion1() {
	for i := range 10 {
		p := of("held", "", second(i))
		p.Trip = "trip-1"
		r.judge(p)
	}
	for i := range 40 {
		p := of("zigzag", "phone-2", off(second(i), float64(i%2)*500))
		if i%10 == 0 {
			p.Event = "sos"
		}
		r.judge(p)
	}
	for _, i := range []int{0, 100, 101, 1, 2, 3, 4, 5, 6, 7} {
		r.judge(of("backlog", "", second(i)))
	}
	alone := of("alone", "", second(50))
	alone.Trip = "trip-2"
	for _, p := range []pingline.Ping{of("alone", "", second(0)), of("alone", "", second(100)), alone} {
		r.judge(p)
	}
	r.judge(of("broken", "", second(0)))
	r.judge(of("broken", "", second(1)))
}

// Pieces of versions 3 and 4 tell of a rider with 16 of 19 devices.
func TestCheckpointsWithDevicesOfVersionsBefore(t *testing.T) {
	r := newRun(t, DefaultConfig(), Bound{MaxError: 10, AccuracyCap: 50})
	r.playVersion1()
	r.playVersion3()
	for _, name := range []string{"piece-v3", "piece-v4"} {
		piece, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := New(r.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Load(piece); err != nil {
			t.Fatal(err)
		}
		f.endLoad()
		if f.Riders() != r.Riders() || knownOf(f, "many") != knownOf(r.Filter, "many") {
			t.Errorf("%s: %d tracks, known %s", name, f.Riders(), knownOf(f, "many"))
		}
		if got, want := f.forgotOf("many", "x"), r.forgotOf("many", "x"); got != want || f.forgot != r.forgot {
			t.Errorf("%s: devices of before %d were forgotten, want %d", name, got, want)
		}
	}
}

// playVersion3 sends what those pieces tell of besides.
func (r *run) playVersion3() {
	for i := range MaxDevices + 3 {
		d := string(rune('a' + i))
		r.judge(of("many", d, second(2*i)))
		r.judge(of("many", d, second(2*i+1)))
	}
}
