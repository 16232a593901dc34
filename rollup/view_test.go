package rollup

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/partition"
	"pingline/queue"
)

var globe = partition.Box{West: -180, South: -90, East: 180, North: 90}

func cellsOf(t *testing.T, r *Rollup, box partition.Box, res int) []CellActivity {
	t.Helper()
	list, err := r.Cells(box, res, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCells(t *testing.T) {
	w := openWorld(t, t.TempDir(), defaults, nil)
	w.append(at(9, ping("a", 1, 0), ping("b", 2, 0), ping("c", 3, 5)))
	w.append(at(13, ping("a", 11, 0)))
	w.all()
	list := cellsOf(t, w.rollup, globe, 8)
	if len(list) != 2 || list[0].Pings+list[1].Pings != 3 || list[0].From != start || list[0].Window != 10*time.Second || list[0].Res != 8 {
		t.Errorf("the first window: %+v", list)
	}
	w.append(at(22))
	w.all()
	pings := map[int64]uint64{}
	for _, a := range cellsOf(t, w.rollup, globe, 8) {
		pings[a.From-start] += a.Pings
	}
	if len(pings) != 2 || pings[0] != 1 || pings[10_000] != 1 {
		t.Errorf("each cell's newest window: %v", pings)
	}
	for _, res := range []int{0, 4, 5} {
		list := cellsOf(t, w.rollup, globe, res)
		if len(list) != 1 || list[0].Pings != 1 || list[0].From != start+10_000 || list[0].Res != res || partition.Res(list[0].Cell) != res {
			t.Errorf("resolution %d: %+v", res, list)
		}
	}
	here := partition.Box{West: -8.63, South: 41.14, East: -8.62, North: 41.16}
	if list := cellsOf(t, w.rollup, here, 8); len(list) != 1 || list[0].Riders != 1 {
		t.Errorf("in the box: %+v", list)
	}
	if list := cellsOf(t, w.rollup, partition.Box{West: 8, South: 41, East: 9, North: 42}, 8); len(list) != 0 {
		t.Errorf("in an empty box: %+v", list)
	}
	w.append(at(71, ping("d", 70, 9)))
	w.append(at(83))
	w.all()
	if list := cellsOf(t, w.rollup, globe, 8); len(list) != 1 || list[0].From != start+70_000 {
		t.Errorf("cells of windows that ended within the last minute: %+v", list)
	}
	for _, bad := range []int{-1, 9} {
		if _, err := w.rollup.Cells(globe, bad, 10); err == nil || !strings.Contains(err.Error(), "resolution") {
			t.Errorf("resolution %d: %v", bad, err)
		}
	}
	if _, err := w.rollup.Cells(partition.Box{South: 91}, 8, 10); err == nil || !strings.Contains(err.Error(), "south") {
		t.Errorf("a box off the globe: %v", err)
	}
}

// The view's totals of a window are the written totals; a resolution that is not
// configured is merged from a finer resolution.
func TestCellsEqualRecount(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 300, seconds: 60, every: 2, spread: 0.2}.commits()
	log := openLog(t, queue.Config{})
	a := appender{log: log}
	r := newRollup(t, log, rules{[]int{8, 6}, defaults.windows, defaults.lateness}, newStore(t), func(c *Config) { c.Policy = func() pingline.Policy { return pingline.PolicyAt(2) } })
	f := feed(t, r)
	for _, c := range commits {
		if err := a.append(testContext(t), c); err != nil {
			t.Fatal(err)
		}
	}
	f.all()
	r.turn(testContext(t), math.MaxInt64)
	want, _ := rules{[]int{8, 7, 6, 5, 4}, defaults.windows[:1], defaults.lateness}.recount(t, commits)
	for res := 4; res <= 8; res++ {
		list := cellsOf(t, r, globe, res)
		newest := map[string]int64{}
		for k := range want {
			if k.res == res && k.from > newest[k.cell] {
				newest[k.cell] = k.from
			}
		}
		for cell, at := range newest {
			if at+10_000+viewAge < r.now() {
				delete(newest, cell)
			}
		}
		if len(list) != len(newest) {
			t.Errorf("resolution %d: %d cells, want %d", res, len(list), len(newest))
		}
		for _, a := range list {
			k := key{fmt.Sprintf("%x", a.Cell), "10s", res, a.From}
			got := point{int64(a.Pings), int64(a.Riders), int64(a.Moving), int64(a.Waiting), a.SpeedMean, a.SpeedMax}
			if !a.HasSpeed {
				got.mean, got.max = -1, -1
			}
			if !same(got, want[k]) || newest[k.cell] != a.From {
				t.Errorf("%v is %+v, want %+v of %d", k, got, want[k], newest[k.cell])
			}
		}
	}
}

// Cells, stats and notes can be read while pings are counted.
func TestLookingWhileCounting(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 100, seconds: 30, every: 2, late: 0.1, spread: 0.2}.commits()
	log := openLog(t, queue.Config{})
	a := appender{log: log}
	r := newRollup(t, log, defaults, newStore(t), nil)
	r.now = a.now
	f := feed(t, r)
	stop := make(chan struct{})
	var looking sync.WaitGroup
	for _, res := range []int{8, 7, 4} {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.Cells(globe, res, 10_000); err != nil {
					t.Error(err)
					return
				}
				r.Stats()
				r.Notes()
			}
		})
	}
	for _, c := range commits {
		if err := a.append(testContext(t), c); err != nil {
			t.Error(err)
		}
		f.all()
	}
	close(stop)
	looking.Wait()
}

// A window is shown for a minute after its end, by the clock, though no ping comes
// any more.
func TestCellsGrowOld(t *testing.T) {
	w := openWorld(t, t.TempDir(), defaults, nil)
	w.append(at(9, ping("a", 1, 0)))
	w.append(at(12))
	w.all()
	now := int64(start)
	w.rollup.now = func() int64 { return now }
	for _, tt := range []struct {
		second int64
		cells  int
	}{{12, 1}, {42, 1}, {70, 1}, {71, 0}, {300, 0}} {
		for _, turned := range []bool{false, true} {
			now = start + tt.second*1000
			if turned {
				w.rollup.tidy()
			}
			for res := range 9 {
				if list := cellsOf(t, w.rollup, globe, res); len(list) != tt.cells {
					t.Errorf("after %d s, memory given up %v: %d cells of resolution %d, want %d", tt.second, turned, len(list), res, tt.cells)
				}
			}
		}
	}
	if used := w.rollup.view.usage(); used != 0 {
		t.Errorf("the view still takes %d bytes", used)
	}
}

// scattered returns totals of one window, of random places: many of them in a few
// towns, some at a pole or the antimeridian.
func scattered(rng *rand.Rand, n int, resolutions []int) [][]total {
	sets := make([]map[uint64]bool, len(resolutions))
	cells, err := partition.NewCells(resolutions[0])
	if err != nil {
		panic(err)
	}
	for i := range sets {
		sets[i] = map[uint64]bool{}
	}
	for i := range n {
		var f pingline.Fix
		lat, lon := math.Asin(2*rng.Float64()-1)*180/math.Pi, 360*rng.Float64()-180
		switch i % 8 {
		case 0, 1, 2:
			lat, lon = 41+0.1*rng.NormFloat64(), -8.6+0.1*rng.NormFloat64()
		case 3:
			lat, lon = -17+0.1*rng.NormFloat64(), math.Remainder(180+0.1*rng.NormFloat64(), 360)
		case 4:
			lat = math.Copysign(90-0.5*rng.Float64(), rng.Float64()-0.5)
		}
		if err := f.SetPosition(lat, lon); err != nil {
			panic(err)
		}
		cell := cells.Exact(&f)
		for i, res := range resolutions {
			sets[i][partition.Parent(cell, res)] = true
		}
	}
	totals := make([][]total, len(resolutions))
	for i, set := range sets {
		for cell := range set {
			totals[i] = append(totals[i], total{cell: cell, from: start, pings: 1, riders: 1})
		}
		slices.SortFunc(totals[i], func(a, b total) int { return cmp.Compare(a.cell, b.cell) })
	}
	return totals
}

// randomBox returns a box of any size and shape, of those that are special often.
func randomBox(rng *rand.Rand) partition.Box {
	size := func(most float64) float64 { return most * math.Pow(rng.Float64(), 6) }
	b := partition.Box{South: 180*rng.Float64() - 90, West: 360*rng.Float64() - 180}
	switch rng.IntN(6) {
	case 0:
		b.South, b.West = 41+0.1*rng.NormFloat64(), -8.6+0.1*rng.NormFloat64()
	case 1:
		b.South, b.West = -17+0.1*rng.NormFloat64(), 180-0.1*rng.Float64()
	case 2:
		b.South = 90 - size(3)
	case 3:
		b.South = -90
	}
	b.North = min(90, b.South+size(180))
	b.East = math.Remainder(b.West+size(360), 360)
	switch rng.IntN(8) {
	case 0:
		b.West, b.East = -180, 180
	case 1:
		b.East = b.West
	}
	return b
}

// Going down from parents finds the cells that looking at each would.
func TestCellsOfAnyBox(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	resolutions := []int{8, 6, 4}
	totals := scattered(rng, 20_000, resolutions)
	v := newView(len(resolutions), 10_000, 64<<20)
	v.put(start, totals)
	circles := make([][]partition.Circle, len(resolutions))
	for i, list := range totals {
		for j := range list {
			circles[i] = append(circles[i], partition.Around(list[j].cell))
		}
	}
	hits := 0
	for range 600 {
		box, most := randomBox(rng), 1+rng.IntN(2000)
		for i, res := range resolutions {
			s := search{box: box, res: res, from: start, most: most}
			got := v.find(&s, i)
			n := 0
			for j, c := range circles[i] {
				if !box.Touches(c) || n == most {
					continue
				}
				if n < len(got) && got[n].Cell != totals[i][j].cell {
					t.Fatalf("%+v, resolution %d: cell %d is %x, want %x", box, res, n, got[n].Cell, totals[i][j].cell)
				}
				n++
			}
			if n != len(got) {
				t.Fatalf("%+v, resolution %d: %d cells, want %d", box, res, len(got), n)
			}
			hits += n
		}
	}
	if hits < 20_000 {
		t.Errorf("only %d cells were found: that shows little", hits)
	}
}

// A view that is full leaves out the oldest windows of the finest cells, whole.
func TestViewIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	resolutions := []int{8, 6, 4}
	const limit = 1 << 20
	v := newView(len(resolutions), 10_000, limit)
	for i := range 30 {
		totals, from := scattered(rng, 5000, resolutions), start+int64(i)*10_000
		for _, list := range totals {
			for j := range list {
				list[j].from = from
			}
		}
		v.put(from, totals)
		if used := v.usage(); used > limit {
			t.Fatalf("window %d: %d bytes, more than %d", i, used, limit)
		}
		for res, list := range v.lists {
			whole := 0
			for j := range list {
				if list[j].from == from {
					whole++
				}
			}
			if whole != 0 && whole != len(totals[res]) || res == 2 && whole == 0 {
				t.Errorf("window %d: %d of %d cells of resolution %d", i, whole, len(totals[res]), resolutions[res])
			}
		}
	}
	if v.hidden() == 0 {
		t.Error("nothing was left out")
	}
	v.put(start, scattered(rng, 1, resolutions))
	for res, list := range v.lists[:2] {
		for j := range list {
			if list[j].from < v.floors[res] {
				t.Errorf("a part of a window that was left out is shown: %+v", list[j])
			}
		}
	}
	v.expire(start + int64(time.Hour/time.Millisecond))
	if used := v.usage(); used != 0 {
		t.Errorf("%d bytes are taken by nothing", used)
	}
}
