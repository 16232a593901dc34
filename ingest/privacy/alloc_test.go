//go:build !race

package privacy

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"pingline/ingest/phone"
)

// The door allocates nothing, once the memory of a request has grown.
func TestDoorAllocatesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := MakeKey(path); err != nil {
		t.Fatal(err)
	}
	d := doorOf(t, DoorSettings{Zones: city(t, 1000), Keys: path, Pings: "centre"})
	own := zonesOf(t, home)
	p := new(phone.Pings)
	r := rand.New(rand.NewPCG(1, 2))
	set := func(i int, d *phone.Draft) {
		d.SetName(phone.Rider, [...]string{"ana", "bo"}[i/50])
		all(d, 41.1+0.1*r.Float64(), -8.7+0.1*r.Float64())
	}
	limits := phone.Limits{}.WithDefaults()
	once := func(screen bool) float64 {
		return testing.AllocsPerRun(100, func() {
			p.Reset(limits, time.Now())
			fill(t, p, 100, set)
			if screen {
				d.Screen(p, own)
			}
		})
	}
	once(true)
	if without, with := once(false), once(true); with > without {
		t.Errorf("%v allocations a request, %v without a door", with, without)
	}
}
