package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// In a storm each phone comes back within the time, sends its backlog in one upload
// and a ping each interval from then on, in order.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		first := map[string][]int64{}
		in, transport := serve(t, func(_ int, pings []wirePing) mishap {
			who := pings[0].Rider + " " + pings[0].Device
			if first[who] == nil {
				for _, p := range pings {
					first[who] = append(first[who], p.At)
				}
				if time.Since(start) > 4*time.Second {
					t.Errorf("%s came back after %v", who, time.Since(start))
				}
			}
			return mishap{}
		})
		c := run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 100, Interval: 2 * time.Second}), Rate: 50,
			Storm:       Storm{Backlog: 5 * time.Minute, Within: 3 * time.Second},
			Connections: 4, Batch: 1000, LikePhones: true, For: time.Minute, Transport: transport,
		}))
		if len(first) != 100 || c.Riders != 100 || c.Skipped > 0 {
			t.Errorf("%d phones came back, %+v", len(first), c)
		}
		for who, list := range first {
			if len(list) != 150 || list[149]-list[0] != 298_000 {
				t.Fatalf("%s came back with %d pings of %d ms", who, len(list), list[len(list)-1]-list[0])
			}
		}
		for who, list := range in.order {
			for i := 1; i < len(list); i++ {
				if list[i]-list[i-1] != 2000 {
					t.Fatalf("%s sent two pings %d ms apart", who, list[i]-list[i-1])
				}
			}
		}
	})
}

// Phones that take longer to come back than their interval is are in order too.
func TestSlowStormIsInOrder(t *testing.T) {
	city := newCity(t, CityConfig{Riders: 1000, Interval: time.Second})
	f := newFleet(city, 1, 3, 1<<20, nil, monday*1e6, monday*1e6+60e9, nil)
	s := newStorm(f, Storm{Backlog: 10 * time.Second, Within: 20 * time.Second}, time.Second)
	last, n := int64(0), 0
	for d, ok := s.Next(); ok; d, ok = s.Next() {
		if d.Send < last || d.At > d.Send/1e6 {
			t.Fatalf("ping %d: %+v after %d", n, d, last)
		}
		last = d.Send
		n++
	}
	// 333 phones, each with 10 old pings and a live one each second of 40 to 60.
	if n < 333*(10+45) || n > 333*(10+55) {
		t.Errorf("%d pings", n)
	}
}

// What an ingester cannot take at once is not given up: the phones keep it.
func TestStormSkipsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, transport := serve(t, func(int, []wirePing) mishap { return mishap{delay: time.Second} })
		c := run(t, newLoad(t, LoadConfig{
			Phones: newCity(t, CityConfig{Riders: 400}), Rate: 80, Storm: Storm{Backlog: time.Minute},
			Connections: 2, Batch: 1000, LikePhones: true, For: 10 * time.Second, Grace: time.Hour, Transport: transport,
		}))
		if c.Skipped > 0 || c.Sent < 400*12 {
			t.Errorf("%+v", c)
		}
	})
}
