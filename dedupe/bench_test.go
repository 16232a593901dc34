package dedupe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"pingline"
)

// fleet makes pings of many riders, in turn, without allocating.
type fleet struct {
	names  []string
	state  []cab
	every  int64
	parked bool
	rng    *rand.Rand
	i      int
	e      pingline.Entry
}

type cab struct {
	lat, lon, course, speed float64
	at                      int64
}

func newFleet(riders int, every int64, parked bool) *fleet {
	fl := &fleet{every: every, parked: parked, rng: rand.New(rand.NewPCG(1, 2))}
	for i := range riders {
		fl.names = append(fl.names, fmt.Sprintf("r-%07d", i))
		fl.state = append(fl.state, cab{41 + fl.rng.Float64(), -8 + fl.rng.Float64(), 6 * fl.rng.Float64(), 10, 1_760_000_000_000})
	}
	return fl
}

// shuffle puts the riders in any order.
func (fl *fleet) shuffle() {
	fl.rng.Shuffle(len(fl.names), func(i, j int) {
		fl.names[i], fl.names[j] = fl.names[j], fl.names[i]
		fl.state[i], fl.state[j] = fl.state[j], fl.state[i]
	})
}

// next returns the next rider's next ping.
func (fl *fleet) next() *pingline.Entry {
	i := fl.i
	if fl.i++; fl.i == len(fl.names) {
		fl.i = 0
	}
	c := &fl.state[i]
	c.at += fl.every
	if !fl.parked {
		if r := fl.rng.Uint32(); r%16 == 0 {
			c.course += float64(int32(r)) / (1 << 31)
		}
		d := c.speed * float64(fl.every) / 1000 / 111195
		sin, cos := math.Sincos(c.course)
		c.lat += d * cos
		c.lon += d * sin * 1.3
	}
	noise := fl.rng.Uint64()
	fl.e = pingline.Entry{Ping: pingline.Ping{Rider: fl.names[i], Fix: pingline.Fix{
		At:    c.at,
		LatE7: int32(c.lat*1e7) + int32(noise%256) - 128,
		LonE7: int32(c.lon*1e7) + int32(noise>>32%256) - 128,
		Speed: 10, Accuracy: 5, Known: pingline.HasSpeed | pingline.HasAccuracy,
	}}, Cell: 0x8539220ffffffff}
	return &fl.e
}

// The cost of one ping, the making of it taken off. The filter is told of the
// pings ahead, as the writer does with those of a request.
func BenchmarkJudge(b *testing.B) {
	for _, kind := range []struct {
		name   string
		every  int64
		parked bool
	}{{"drive 1 s", 1000, false}, {"taxi 5 s", 5000, false}, {"parked", 1000, true}} {
		for _, riders := range []int{1000, 100_000, 1_000_000} {
			for _, order := range []string{"in turn", "in any order"} {
				b.Run(fmt.Sprintf("%s/%d riders %s", kind.name, riders, order), func(b *testing.B) {
					if riders == 1_000_000 && testing.Short() {
						b.Skip("a million riders take long to make")
					}
					benchmarkJudge(b, newFleet(riders, kind.every, kind.parked), order == "in any order")
				})
			}
		}
	}
}

func benchmarkJudge(b *testing.B, fl *fleet, shuffled bool) {
	f, err := New(DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	var batch Batch
	stored := 0
	judge := func(e *pingline.Entry) {
		f.Judge(&batch, e, Bound{MaxError: 10, AccuracyCap: 50}, 1, 0)
		for i := range batch.Entries {
			if batch.Entries[i].Stored() {
				stored++
			}
		}
		batch.Reset()
	}
	for range 12 * len(fl.names) {
		judge(fl.next())
	}
	if shuffled {
		fl.shuffle()
	}
	const round = 64 * Ahead
	var made requests
	stored = 0
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		made.make(fl, round)
		b.StartTimer()
		for i := range made.entries {
			if i%Ahead == 0 {
				f.Prefetch(made.pings[i:])
			}
			judge(&made.entries[i])
		}
	}
	total := float64(b.N) * round
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/total, "ns/ping")
	b.ReportMetric(100*float64(stored)/total, "kept%")
}

// requests are pings as they come from a decoder: their names lie beside one
// another, not where the filter has its own.
type requests struct {
	entries []pingline.Entry
	pings   []pingline.Ping
	names   []byte
}

func (r *requests) make(fl *fleet, n int) {
	r.entries, r.pings, r.names = r.entries[:0], r.pings[:0], r.names[:0]
	r.names = slices.Grow(r.names, n*len(fl.names[0]))
	for range n {
		e := *fl.next()
		at := len(r.names)
		r.names = append(r.names, e.Rider...)
		e.Rider = unsafe.String(&r.names[at], len(e.Rider))
		r.entries, r.pings = append(r.entries, e), append(r.pings, e.Ping)
	}
}

// Bytes a rider takes, with all the filter has, but the blocks of recent points.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		fl := newFleet(1_000_000, 1000, false)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		cfg := DefaultConfig()
		f, err := New(cfg)
		if err != nil {
			b.Fatal(err)
		}
		var batch Batch
		for range 3 * len(fl.names) {
			e := fl.next()
			e.Trip = "trip-0001"
			f.Judge(&batch, e, Bound{MaxError: 10, AccuracyCap: 50}, 1, 0)
			batch.Reset()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		blocks := int(f.blocks.Bytes())
		b.ReportMetric(float64(int(after.HeapAlloc-before.HeapAlloc)-blocks)/float64(f.Riders()), "bytes/rider")
		runtime.KeepAlive(f)
		runtime.KeepAlive(fl)
	}
}
