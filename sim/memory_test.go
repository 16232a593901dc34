package sim

import (
	"runtime"
	"testing"
	"time"

	"pingline"
	"pingline/sim/simtest"
)

// A million riders take less than a gigabyte: a sender remembers their names, trips and
// times, and a city nothing.
func TestBytesPerRider(t *testing.T) {
	const riders = 200_000
	before := simtest.Heap()
	city := newCity(t, CityConfig{Riders: riders, Interval: 5 * time.Second})
	l, err := NewLoad(LoadConfig{URL: "http://localhost", Rate: riders / 5, Phones: city, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := newTestSender(t, l)
	var dues []Due
	var pings []pingline.Ping
	for n := 0; n < 2*riders; n += len(dues) {
		if dues, _ = s.plan.next(dues[:0], 1000); len(dues) == 0 {
			t.Fatalf("no more pings after %d", n)
		}
		pings = s.fill(pings[:0], dues)
	}
	each := float64(simtest.Heap()-before) / riders
	runtime.KeepAlive(s)
	t.Logf("%.0f bytes a rider: %.0f MB of a million", each, each)
	if len(s.phones) < riders || each > 1000 {
		t.Errorf("%d phones at %.0f bytes each", len(s.phones), each)
	}
}
