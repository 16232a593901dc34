package tracktest_test

import (
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"pingline"
	"pingline/sim"
	"pingline/track"
	"pingline/track/tracktest"
)

var update = flag.Bool("update", false, "write testdata/gps anew")

// morning is when the simulated tracks begin.
var morning = time.Date(2025, 10, 9, 8, 0, 0, 0, time.UTC)

// drives returns what the first phones of a city send that are on a trip at its
// start: their fixes, without events and trips.
func drives(t *testing.T, phones, rounds int, interval time.Duration) (pings []pingline.Ping) {
	t.Helper()
	city, err := sim.NewCity(sim.CityConfig{Seed: 20, Interval: interval})
	if err != nil {
		t.Fatal(err)
	}
	start, step := morning.UnixMilli(), interval.Milliseconds()
	var on []int
	for i := 0; len(on) < phones && i < city.Riders(); i++ {
		if p := city.Ping(i, start-step, start); p.Device == "" && p.Trip != "" {
			on = append(on, i)
		}
	}
	for round := range int64(rounds) {
		for _, i := range on {
			p := city.Ping(i, start+(round-1)*step, start+round*step)
			p.Event, p.Trip = "", ""
			pings = append(pings, p)
		}
	}
	return pings
}

// disturb returns the pings rider by rider, as an unreliable network delivers them:
// 8 % once more 1 to 20 pings later, 2 % twice in a row, 3 % delayed by 1 to 8 pings.
func disturb(pings []pingline.Ping) (out []pingline.Ping) {
	type arrival struct {
		pingline.Ping
		at int
	}
	rng := rand.New(rand.NewPCG(20, 3))
	var riders []string
	tracks := map[string][]pingline.Ping{}
	for _, p := range pings {
		if tracks[p.Rider] == nil {
			riders = append(riders, p.Rider)
		}
		tracks[p.Rider] = append(tracks[p.Rider], p)
	}
	for _, rider := range riders {
		var all []arrival
		for i, p := range tracks[rider] {
			a := arrival{p, 100 * i}
			switch n := rng.IntN(100); {
			case n < 8:
				all = append(all, arrival{p, a.at + 100*(1+rng.IntN(20)) + 1})
			case n < 10:
				all = append(all, arrival{p, a.at + 1})
			case n < 13:
				a.at += 100*(1+rng.IntN(8)) + 2
			}
			all = append(all, a)
		}
		slices.SortStableFunc(all, func(a, b arrival) int { return a.at - b.at })
		for _, a := range all {
			out = append(out, a.Ping)
		}
	}
	return out
}

func simulated(t *testing.T, kind tracktest.Habit) []pingline.Ping {
	switch kind {
	case tracktest.EverySecond:
		return drives(t, 4, 1500, time.Second)
	case tracktest.EveryFew:
		return drives(t, 26, 300, 5*time.Second)
	case tracktest.Sparse:
		return drives(t, 1, 420, 27*time.Second)
	case tracktest.Disordered:
		return disturb(drives(t, 4, 1500, time.Second))
	}
	t.Fatalf("no tracks of kind %q", kind)
	return nil
}

// The tracks in the tree are those of the simulated city, and no rider's. Another
// machine may round a position's last digit otherwise.
func TestTracksInTreeAreSimulated(t *testing.T) {
	for _, kind := range tracktest.Kinds {
		want, path := simulated(t, kind), tracktest.InTree(t, kind).Path
		if *update {
			write(t, path, want)
		}
		got := read(t, path)
		if len(got) != len(want) {
			t.Errorf("%s: %d pings, the city sends %d", path, len(got), len(want))
			continue
		}
		for i, p := range got {
			w := want[i]
			if p.Rider != w.Rider || p.At != w.At || far(p.LatE7, w.LatE7) || far(p.LonE7, w.LonE7) {
				t.Fatalf("%s: ping %d is %+v, the city sends %+v", path, i, p, w)
			}
		}
	}
}

func far(a, b int32) bool { return a-b > 1 || b-a > 1 }

// All the files together stay small enough for every clone.
func TestTracksInTreeAreSmall(t *testing.T) {
	size := int64(0)
	for _, kind := range tracktest.Kinds {
		info, err := os.Stat(tracktest.InTree(t, kind).Path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 1<<20 {
		t.Errorf("%d bytes, want at most 1 MiB", size)
	}
}

func write(t *testing.T, path string, pings []pingline.Ping) {
	t.Helper()
	w, err := track.Create(path, track.NDJSON)
	if err != nil {
		t.Fatal(err)
	}
	for i := range pings {
		if err := w.Write(&pings[i], false); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) (pings []pingline.Ping) {
	t.Helper()
	r, err := track.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		p, _, err := r.Next()
		if err == io.EOF {
			return pings
		}
		if err != nil {
			t.Fatal(err)
		}
		pings = append(pings, p)
	}
}
