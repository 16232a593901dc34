package dedupe

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pingline"
)

// countText is what names and trips take, counted anew.
func (f *Filter) countText() (n int64) {
	for i := uint32(1); i <= f.names.Last; i++ {
		n += textBytes(f.names.At(i).key) + textBytes(f.names.At(i).trip)
	}
	for i := uint32(1); i <= f.backlogs.Last; i++ {
		n += textBytes(f.backlogs.At(i).trip)
	}
	for rider := range f.devices {
		n += textBytes(rider)
	}
	return n
}

// What the filter says it takes is what the heap shows, however long names are,
// and with tracks that go.
func TestBytesAreTheHeaps(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, long := range []int{4, 50} {
		before := heap()
		cfg := DefaultConfig()
		cfg.MaxRiders = 60_000
		f, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		for i := range 300_000 {
			e := pingline.Entry{Ping: pingline.Ping{Rider: fmt.Sprint(strings.Repeat("r", long), i/3), Trip: fmt.Sprint(strings.Repeat("t", long), i)}}
			if i%9 < 3 {
				e.Device = fmt.Sprint("d-", i/3)
			}
			e.At, e.LatE7, e.LonE7 = int64(1_760_000_000_000+1000*i), int32(410_000_000+i*100), int32(i)
			f.Judge(&b, &e, Bound{MaxError: 10}, 0, time.Duration(i)*time.Millisecond)
			b = Batch{Entries: b.Entries[:0], Since: b.Since[:0], Settled: b.Settled[:0]}
		}
		b = Batch{}
		says, is := f.Bytes(), heap()-before
		if float64(is) > 1.15*float64(says)+(1<<20) || float64(says) > 1.15*float64(is)+(1<<20) {
			t.Errorf("names of %d: the filter says %d bytes, the heap %d", long, says, is)
		}
		t.Logf("names of %d: %d bytes a track, %d in the heap", long, says/int64(f.Riders()), is/int64(f.Riders()))
		runtime.KeepAlive(f)
	}
}
