package stream

import (
	"testing"

	"pingline/query/fleet"
)

// BenchmarkViewport is a viewer with 20,000 riders in the viewport who each send every
// 5 s: the bytes of an event, which comes once a second, and the time it takes to make.
func BenchmarkViewport(b *testing.B) {
	const riders, interval = 20_000, 5
	w := new(world)
	at := func(i int, step float64) (lat, lon float64) {
		return 41 + float64(i/200)*0.003 + step, -8.7 + float64(i%200)*0.002
	}
	for i := range riders {
		lat, lon := at(i, 0)
		w.ping(i+1, lat, lon)
	}
	m := fleet.New(fleet.Config{Newest: w.newest, MaxRiders: riders})
	h := New(Config{Map: m})
	view := fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: city}
	v, err := h.Open(view, "", func() {})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	event := func() (n int) {
		h.cfg.Map.Change(&v.change, &v.view, v.last)
		v.seen, v.last = true, v.change.ID
		v.buf = v.buf[:0]
		for v.event(); len(v.parts) > 0; {
			n += len(v.buf)
			if v.buf = v.parts[0](v.buf[:0]); len(v.buf) == 0 {
				v.parts = v.parts[1:]
			}
		}
		return n
	}
	all, bytes := event(), 0
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		for i := n % interval; i < riders; i += interval {
			lat, lon := at(i, float64(n%100)*0.0001)
			w.ping(i+1, lat, lon)
		}
		<-h.next().came // its snapshot may have been begun before
		<-h.next().came
		b.StartTimer()
		bytes += event()
	}
	b.ReportMetric(float64(all), "bytes/state")
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/event")
}
