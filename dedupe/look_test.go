package dedupe

import (
	"math"
	"testing"
	"time"

	"pingline"
)

// A look tells what is known of a track and leaves it as it was.
func TestLookChangesNothing(t *testing.T) {
	f, err := New(DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	ping := func(at int64, lat float64) *pingline.Entry {
		e := &pingline.Entry{Ping: pingline.Ping{Rider: "r", Fix: pingline.Fix{At: at}}}
		if err := e.SetPosition(lat, -8); err != nil {
			t.Fatal(err)
		}
		return e
	}
	const at = 1_760_000_000_000
	look := func(name string, e *pingline.Entry, newest int64, duplicate bool) {
		t.Helper()
		before, riders := f.order.stamp, f.Riders()
		n, d := f.Look(e)
		if n != newest || d != duplicate {
			t.Errorf("%s: newest %d, duplicate %v; want %d, %v", name, n, d, newest, duplicate)
		}
		if f.order.stamp != before || f.Riders() != riders {
			t.Errorf("%s: the look changed the filter", name)
		}
	}
	look("a track that is not known", ping(at, 41), math.MinInt64, false)
	for i, lat := range []float64{41, 41.1, 41.2} {
		f.Judge(&b, ping(at+int64(i)*1000, lat), Bound{MaxError: 10}, uint64(i+1), time.Duration(i)*time.Second)
	}
	look("a newer one", ping(at+3000, 41.3), at+2000, false)
	look("the newest again", ping(at+2000, 41.2), at+2000, true)
	look("its instant, elsewhere", ping(at+2000, 41.3), at+2000, false)
	look("a vertex again", ping(at, 41), at+2000, true)
	look("before all", ping(at-1000, 41), at+2000, false)
	if n := testing.AllocsPerRun(100, func() { f.Look(ping(at, 41)) }); n > 1 { // the entry itself
		t.Errorf("a look allocates %v times", n-1)
	}
}
