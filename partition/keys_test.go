package partition

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
)

func newKeys(t testing.TB, cfg KeyConfig) *Keys {
	t.Helper()
	if cfg.Shards == nil {
		cfg.Shards = weighted(t, 1, 1, 1, 1)
	}
	k, err := NewKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// epoch is when simulated time begins.
var epoch = time.UnixMilli(1_760_000_000_000)

// crowd sends a cell's pings at a rate from many riders in turn, and returns
// the time when it is done.
func crowd(k *Keys, cell uint64, rate int, from time.Time, lasts time.Duration) time.Time {
	for i := range int(float64(rate) * lasts.Seconds()) {
		k.Of(cell, riders[i%len(riders)], from.Add(time.Duration(i)*time.Second/time.Duration(rate)))
	}
	return from.Add(lasts)
}

var riders = func() (list [1000]string) {
	for i := range list {
		list[i] = fmt.Sprintf("r-%06d", i)
	}
	return list
}()

const stadium, elsewhere = 0x8539220ffffffff, 0x8539220bfffffff

// splits returns what Hot says of a cell.
func splits(k *Keys, cell uint64, now time.Time) int {
	for _, h := range k.Hot(now) {
		if h.Cell == cell {
			return h.Splits
		}
	}
	return 1
}

func TestNewKeysRefuses(t *testing.T) {
	s := weighted(t, 1)
	for name, cfg := range map[string]KeyConfig{
		"no shards":         {},
		"negative rate":     {Shards: s, HotRate: -1},
		"no rate":           {Shards: s, HotRate: math.NaN()},
		"cools at once":     {Shards: s, Cool: time.Millisecond},
		"unknown way":       {Shards: s, By: 3},
		"odd splits":        {Shards: s, Splits: map[uint64]int{1: 3}},
		"too many splits":   {Shards: s, Splits: map[uint64]int{1: 2048}},
		"split but by cell": {Shards: s, By: ByCell, Splits: map[uint64]int{1: 2}},
	} {
		if _, err := NewKeys(cfg); err == nil {
			t.Errorf("%s: NewKeys(%+v) succeeded", name, cfg)
		}
	}
}

func TestByText(t *testing.T) {
	for _, by := range []By{ByCellAndRider, ByRider, ByCell} {
		text, err := by.MarshalText()
		var got By
		if err != nil || got.UnmarshalText(text) != nil || got != by {
			t.Errorf("%v becomes %q becomes %v: %v", by, text, got, err)
		}
	}
	var by By
	if err := by.UnmarshalText([]byte("shard")); err == nil || !strings.Contains(err.Error(), `"cell+rider"`) {
		t.Errorf("error of an unknown way: %v", err)
	}
}

func TestHotCellIsSplitForItsRate(t *testing.T) {
	for _, tt := range []struct{ rate, want int }{{900, 1}, {1200, 2}, {2500, 4}, {7000, 8}, {30_000, 32}, {40_000, 64}} {
		k := newKeys(t, KeyConfig{})
		now := crowd(k, stadium, tt.rate, epoch, 30*time.Second)
		if got := splits(k, stadium, now); got != tt.want {
			t.Errorf("%d pings/s: %d splits, want %d", tt.rate, got, tt.want)
		}
		if hot := k.Hot(now); tt.want > 1 && (len(hot) != 1 || math.Abs(hot[0].Rate/float64(tt.rate)-1) > 0.1) {
			t.Errorf("%d pings/s: hot cells %+v", tt.rate, hot)
		}
	}
	k := newKeys(t, KeyConfig{HotRate: 1})
	if now := crowd(k, stadium, 20_000, epoch, 20*time.Second); splits(k, stadium, now) != MaxSplits {
		t.Errorf("%d splits, want no more than %d", splits(k, stadium, now), MaxSplits)
	}
}

func TestBurstOfOneRequestDoesNotSplit(t *testing.T) {
	k := newKeys(t, KeyConfig{})
	for range 9000 {
		k.Of(stadium, "r", epoch)
	}
	if k.Of(stadium, "r", epoch.Add(time.Second)); splits(k, stadium, epoch.Add(time.Second)) != 1 {
		t.Error("9,000 pings at once, after an hour offline, split their cell")
	}
}

// One rider stays on one sub-key between changes; when a cell is split in two
// half of the riders stay, and a merge takes all back to where they were.
func TestRidersStayTogether(t *testing.T) {
	k := newKeys(t, KeyConfig{Cool: time.Minute})
	now, rate := epoch, 1500
	var history []map[string]uint16
	for n := 2; n <= 16; n *= 2 {
		now = crowd(k, stadium, rate, now, 60*time.Second)
		if got := splits(k, stadium, now); got != n {
			t.Fatalf("%d pings/s: %d splits, want %d", rate, got, n)
		}
		rate *= 2
		on := make(map[string]uint16)
		subs := make(map[uint16]bool)
		for range 3 {
			for _, r := range riders {
				sub := k.Of(stadium, r, now)
				if was, ok := on[r]; ok && was != sub {
					t.Fatalf("rider %s went from sub-key %d to %d with %d splits", r, was, sub, n)
				}
				on[r], subs[sub] = sub, true
			}
		}
		if len(subs) != n {
			t.Errorf("%d splits, but %d sub-keys are in use", n, len(subs))
		}
		if len(history) > 0 {
			stayed := 0
			for r, sub := range history[len(history)-1] {
				if on[r] == sub {
					stayed++
				}
			}
			if stayed < 430 || stayed > 570 {
				t.Errorf("the split into %d left %d of 1,000 riders where they were, want half", n, stayed)
			}
		}
		history = append(history, on)
	}
	// 3,000 pings/s need 4 of the 16: a halving each minute.
	for i := 2; i >= 1; i-- {
		now = crowd(k, stadium, 3000, now, 30*time.Second) // forget
		for splits(k, stadium, now) > 2<<i {
			now = crowd(k, stadium, 3000, now, time.Second)
		}
		for r, sub := range history[i] {
			if got := k.Of(stadium, r, now); got != sub {
				t.Fatalf("merged to %d splits, rider %s is on sub-key %d, was on %d", 2<<i, r, got, sub)
			}
		}
	}
	if now = crowd(k, stadium, 3000, now, 10*time.Minute); splits(k, stadium, now) != 4 {
		t.Errorf("%d splits for 3,000 pings/s", splits(k, stadium, now))
	}
}

func TestCoolingHalvesEveryTenMinutes(t *testing.T) {
	k := newKeys(t, KeyConfig{})
	end := crowd(k, stadium, 7000, epoch, 20*time.Second)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{0, 8}, {9 * time.Minute, 8}, {11 * time.Minute, 4}, {19 * time.Minute, 4}, {21 * time.Minute, 2}, {29 * time.Minute, 2}, {31 * time.Minute, 1}, {24 * time.Hour, 1}} {
		now := end.Add(tt.after)
		if got := splits(k, stadium, now); got != tt.want { // told to a reader while no ping comes
			t.Errorf("idle for %v: %d splits, want %d", tt.after, got, tt.want)
		}
		if tt.after%(10*time.Minute) == time.Minute { // and the same if one does
			k.Of(stadium, "r", now)
			if got := splits(k, stadium, now); got != tt.want {
				t.Errorf("idle for %v, then a ping: %d splits, want %d", tt.after, got, tt.want)
			}
		}
	}
	if hot := k.Hot(end.Add(time.Hour)); len(hot) != 0 {
		t.Errorf("hot cells after an hour: %+v", hot)
	}
	// Needed now and then, splits stay.
	now := end.Add(2 * time.Hour)
	for range 6 {
		now = crowd(k, stadium, 7000, now, 30*time.Second)
		if now = crowd(k, stadium, 100, now, 9*time.Minute); splits(k, stadium, now) != 8 {
			t.Fatalf("%d splits of a cell that needs 8 every ten minutes", splits(k, stadium, now))
		}
	}
}

func TestClockSetBack(t *testing.T) {
	k := newKeys(t, KeyConfig{})
	now := crowd(k, stadium, 1500, epoch, 30*time.Second)
	now = now.Add(-time.Hour)
	if now = crowd(k, stadium, 5000, now, 30*time.Second); splits(k, stadium, now) != 8 {
		t.Errorf("%d splits for 5,000 pings/s after the clock was set back", splits(k, stadium, now))
	}
	if got := splits(k, stadium, now.Add(31*time.Minute)); got != 1 {
		t.Errorf("%d splits half an hour later", got)
	}
}

// A split spreads a cell over the shards as they weigh, not as chance has it.
func TestSubKeysSpreadEvenly(t *testing.T) {
	for name, s := range map[string]*Shards{
		"two": weighted(t, 1, 1), "three": weighted(t, 1, 1, 1), "four": weighted(t, 1, 1, 1, 1), "weighted": weighted(t, 2, 1, 1), "twelve": weighted(t, make([]float64, 12)...),
	} {
		k, worst := newKeys(t, KeyConfig{Shards: s}), 0.0
		for cell := range uint64(100) {
			long := k.subKeys(cell, MaxSplits)
			seen := make(map[uint16]bool)
			have := make([]float64, s.Len())
			for i, sub := range long {
				if seen[sub] || sub%MaxSplits != uint16(i) || sub == subRider {
					t.Fatalf("%s: sub-key %d is %d", name, i, sub)
				}
				seen[sub] = true
				have[s.OfKey(CellKey(cell, sub))]++
				if n := i + 1; n >= 4*s.Len() && n&i == 0 {
					for shard, share := range s.shares() {
						worst = max(worst, math.Abs(have[shard]-share*float64(n)))
					}
				}
			}
			for n := 1; n < MaxSplits; n *= 2 {
				if short := k.subKeys(cell, n); fmt.Sprint(short) != fmt.Sprint(long[:n]) {
					t.Fatalf("%s: sub-keys of %d splits are %v, of more %v", name, n, short, long[:n])
				}
			}
		}
		t.Logf("%s shards: at most %.2f sub-keys from a shard's part", name, worst)
		if worst > 2 {
			t.Errorf("%s shards: a shard is %.2f sub-keys from its part", name, worst)
		}
	}
}

func TestOtherWaysToPartition(t *testing.T) {
	rider := newKeys(t, KeyConfig{By: ByRider})
	cell := newKeys(t, KeyConfig{By: ByCell})
	var e pingline.Entry
	e.Rider = "r-1"
	for i := range 100_000 {
		now := epoch.Add(time.Duration(i) * 100 * time.Microsecond)
		e.Cell = stadium + uint64(i%2)
		e.SubKey = rider.Of(e.Cell, e.Rider, now)
		if KeyOf(&e) != RiderKey("r-1") {
			t.Fatalf("key of a rider by sub-key %d", e.SubKey)
		}
		if sub := cell.Of(e.Cell, riders[i%len(riders)], now); sub != 0 {
			t.Fatalf("sub-key %d though cells are never split", sub)
		}
	}
	now := epoch.Add(10 * time.Second)
	if hot := cell.Hot(now); len(hot) != 2 || hot[0].Splits != 1 || hot[0].Rate < 2000 {
		t.Errorf("hot cells that are not split: %+v", hot)
	}
}

func TestCellsSplitBeforehand(t *testing.T) {
	k := newKeys(t, KeyConfig{Splits: map[uint64]int{stadium: 32, elsewhere: 1}})
	check := func(when string, now time.Time) {
		t.Helper()
		if hot := k.Hot(now); len(hot) != 1 || hot[0].Cell != stadium || hot[0].Splits != 32 {
			t.Fatalf("%s: hot cells %+v", when, hot)
		}
	}
	check("at the start", epoch)
	subs := make(map[uint16]bool)
	for _, r := range riders {
		subs[k.Of(stadium, r, epoch)] = true
	}
	if len(subs) != 32 {
		t.Errorf("the first pings are on %d sub-keys, want 32", len(subs))
	}
	check("a day later", epoch.Add(24*time.Hour))
	for i := range uint64(1_000_000) {
		k.Of(mix(i), "r", epoch.Add(24*time.Hour))
	}
	check("after a flood", epoch.Add(24*time.Hour))
	now := crowd(k, stadium, 40_000, epoch.Add(25*time.Hour), 20*time.Second)
	if got := splits(k, stadium, now); got != 64 {
		t.Errorf("%d splits for 40,000 pings/s", got)
	}
	check("when it is over", now.Add(time.Hour))
}

// A million cells that come once each neither take memory, nor hide a cell that
// is hot, nor seem hot themselves.
func TestFloodOfCells(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 18))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	k := newKeys(t, KeyConfig{})
	now := epoch
	for i := range 1_000_000 {
		now = epoch.Add(time.Duration(i) * time.Second / 50_000)
		k.Of(0x85<<52|rng.Uint64N(1<<22)<<30|(1<<30-1), riders[i%len(riders)], now)
		if i%20 == 0 { // 2,500 a second
			k.Of(stadium, riders[i/20%len(riders)], now)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	taken := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d bytes after a million cells", taken)
	if taken > 2<<20 || taken > MaxKeysMemory {
		t.Errorf("Keys takes %d bytes", taken)
	}
	hot := k.Hot(now)
	if len(hot) != 1 || hot[0].Cell != stadium || hot[0].Splits != 4 || math.Abs(hot[0].Rate/2500-1) > 0.2 {
		t.Errorf("hot cells in a flood of 50,000 cells/s: %+v", hot)
	}
	runtime.KeepAlive(k)
}

// The same from cells of one set of the table only, each often enough to be
// counted.
func TestFloodOfOneSet(t *testing.T) {
	k := newKeys(t, KeyConfig{})
	var rivals []uint64
	for cell := uint64(1); len(rivals) < 100; cell++ {
		if mix(cell)%trackedSets == mix(stadium)%trackedSets {
			rivals = append(rivals, cell)
		}
	}
	now := epoch
	for i := range 300_000 {
		now = epoch.Add(time.Duration(i) * time.Second / 10_000)
		if k.Of(rivals[i%len(rivals)], "r", now); i%4 == 0 {
			k.Of(stadium, riders[i%len(riders)], now)
		}
	}
	hot := k.Hot(now)
	if len(hot) != 1 || hot[0].Cell != stadium || hot[0].Splits != 4 {
		t.Errorf("hot cells: %+v", hot)
	}
}

func TestHotIsReadMeanwhile(t *testing.T) {
	k := newKeys(t, KeyConfig{HotRate: 10})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, h := range k.Hot(epoch.Add(time.Minute)) {
				if h.Splits < 2 || h.Splits > MaxSplits {
					t.Errorf("hot cell %+v", h)
					return
				}
			}
		}
	})
	for i := range 100_000 {
		k.Of(uint64(i%5000%300*i), riders[i%len(riders)], epoch.Add(time.Duration(i)*time.Millisecond))
	}
	close(stop)
	wg.Wait()
}

func TestParseHotCells(t *testing.T) {
	cells, err := ParseHotCells(strings.NewReader("# the match\n\n8539220ffffffff 256 # stadium\r\n\t8539220bfffffff\n"), 5)
	if err != nil || len(cells) != 2 || cells[stadium] != 256 || cells[elsewhere] != 64 {
		t.Errorf("ParseHotCells = %v, %v", cells, err)
	}
	for text, want := range map[string]string{
		"\nx":                                  "line 2: \"x\" is not an H3 cell",
		"8539220ffffffff 3":                    "line 1: 3 splits: not a power of two",
		"8539220ffffffff 2048":                 "line 1: 2048 splits",
		"8539220ffffffff -2":                   "line 1: -2 splits",
		"8539220ffffffff many":                 "line 1: \"many\" is not a number",
		"8539220ffffffff 2 3":                  "line 1: \"3\" follows",
		"#\n8839220f09fffff":                   "line 2: cell 8839220f09fffff is of resolution 8, not 5",
		"8539220ffffffff 2\n8539220ffffffff":   "line 2: cell 8539220ffffffff is listed twice",
		strings.Repeat("8539220ffffffff", 1e4): "too long",
	} {
		if cells, err := ParseHotCells(strings.NewReader(text), 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseHotCells(%.40q) = %v, %v, want %q", text, cells, err, want)
		}
	}
}

// BenchmarkKey is cell, sub-key and shard of a ping of a moving rider: of a fleet
// in a city, with no cell hot and with most of it in cells that are split, and
// in many cities.
func BenchmarkKey(b *testing.B) {
	for _, bb := range []struct {
		name   string
		cities int
		rate   float64
		plain  bool
	}{{"city", 1, 1e9, false}, {"hot", 1, 10, false}, {"cities", 30, 1e9, false}, {"plain", 1, 1e9, true}} {
		b.Run(bb.name, func(b *testing.B) {
			cells, err := NewCells(5)
			if err != nil {
				b.Fatal(err)
			}
			shards := weighted(b, 1, 1, 1, 1)
			k := newKeys(b, KeyConfig{Shards: shards, HotRate: bb.rate})
			c := newCities(b, bb.cities, 20_000)
			of := cells.Of
			if bb.plain {
				of = cells.Exact
			}
			var e pingline.Entry
			n, total := 0, 0
			ping := func() {
				n++
				p := c.next()
				e.Cell = of(&p.Fix)
				e.Rider = p.Rider
				e.SubKey = k.Of(e.Cell, p.Rider, epoch.Add(time.Duration(n)*10*time.Microsecond))
				total += shards.Of(&e)
			}
			for range 500_000 {
				ping()
			}
			b.ReportAllocs()
			for b.Loop() {
				ping()
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pings/s")
		})
	}
}
