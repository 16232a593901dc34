package rollup

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline/partition"
	"pingline/queue"
)

var globe = partition.Box{West: -180, South: -90, East: 180, North: 90}

func cellsOf(t *testing.T, r *Rollup, box partition.Box, res int) []CellActivity {
	t.Helper()
	list, err := r.Cells(box, res)
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
	if list := cellsOf(t, w.rollup, globe, 8); len(list) != 2 {
		t.Errorf("cells of the last minute: %+v", list)
	}
	for _, bad := range []int{-1, 9} {
		if _, err := w.rollup.Cells(globe, bad); err == nil || !strings.Contains(err.Error(), "resolution") {
			t.Errorf("resolution %d: %v", bad, err)
		}
	}
	if _, err := w.rollup.Cells(partition.Box{South: 91}, 8); err == nil || !strings.Contains(err.Error(), "south") {
		t.Errorf("a box off the globe: %v", err)
	}
}

// What the view shows of a window is what is written of it; a resolution that is
// not configured is merged from a finer one.
func TestCellsEqualRecount(t *testing.T) {
	commits := city{rng: rand.New(rand.NewPCG(1, 1)), riders: 300, seconds: 60, every: 2, spread: 0.2}.commits()
	log := openLog(t, queue.Config{})
	a := appender{log: log}
	r := newRollup(t, log, rules{[]int{8, 6}, defaults.windows, defaults.lateness}, newStore(t), func(c *Config) { c.Level = func() int { return 2 } })
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
		latest := int64(0)
		for _, at := range newest {
			latest = max(latest, at)
		}
		for cell, at := range newest {
			if at < latest-viewAge {
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

// Whoever looks at cells, stats and notes does so while pings are counted.
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
				if _, err := r.Cells(globe, res); err != nil {
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
