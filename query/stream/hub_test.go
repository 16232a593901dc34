package stream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/query/fleet"
)

// world is a writer's filter and a roll-up, as far as a fleet.Map sees them.
type world struct {
	mu     sync.Mutex
	list   []dedupe.Newest
	stamps []uint64
	stamp  uint64
	err    error
	cells  []fleet.Activity
}

func (w *world) newest(n *ingest.NewestPings) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	n.List, n.Stamp, n.Filter = n.List[:0], w.stamp, 1
	for i := range w.list {
		if w.stamps[i] > n.Since {
			n.List = append(n.List, w.list[i])
		}
	}
	n.Track = 0
	return nil
}

func (w *world) activity(_ partition.Box, res, most int) ([]fleet.Activity, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.cells), false, nil
}

// ping has a rider, by number from 1, send a ping.
func (w *world) ping(rider int, lat, lon float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.list) < rider {
		w.list, w.stamps = append(w.list, dedupe.Newest{Track: uint32(len(w.list) + 1), Name: fmt.Sprint("r-", len(w.list)+1, "\x00phone")}), append(w.stamps, 0)
	}
	f := &w.list[rider-1].Fix
	*f = pingline.Fix{At: time.Now().UnixMilli(), Speed: 7.26, Known: pingline.HasSpeed}
	if err := f.SetPosition(lat, lon); err != nil {
		panic(err)
	}
	w.stamp++
	w.stamps[rider-1] = w.stamp
}

var (
	testCells, _ = partition.NewCells(8)
	city         = partition.Box{West: -9, South: 41, East: -8, North: 42}
)

func cellAt(lat, lon float64, pings uint64) fleet.Activity {
	var f pingline.Fix
	if err := f.SetPosition(lat, lon); err != nil {
		panic(err)
	}
	return fleet.Activity{Cell: testCells.Of(&f), Res: 8, From: time.Now().UnixMilli(), WindowS: 10, Pings: pings, Riders: 1, SpeedMean: 3.14}
}

func testHub(w *world) (*fleet.Map, *Hub) {
	m := fleet.New(fleet.Config{Newest: w.newest, MaxRiders: 1000, Cells: w.activity, Resolutions: []int{8}})
	return m, New(Config{Map: m, Viewers: 3})
}

// event is an event as a viewer gets it.
type event struct {
	ID, Name, Data, Retry string
	Body                  struct {
		At, StaleS, GoneS     int64
		Riders, Cells         [][]any
		RidersGone, CellsGone []float64
		RidersOver            int
	}
}

// client is a program at the other end of a stream: the page docs/stream.md, in code.
type client struct {
	r      io.Reader
	rest   string
	id     string
	riders map[float64][]any
	names  map[float64]string
	cells  map[float64][]any
}

func newClient(r io.Reader) *client {
	return &client{r: r, riders: map[float64][]any{}, names: map[float64]string{}, cells: map[float64][]any{}}
}

// next reads the next event, and takes what it tells.
func (c *client) next(t testing.TB) (e event) {
	t.Helper()
	buf := make([]byte, 4096)
	for !strings.Contains(c.rest, "\n\n") {
		n, err := c.r.Read(buf)
		if err != nil {
			t.Fatalf("read an event behind %q: %v", c.rest, err)
		}
		c.rest += string(buf[:n])
	}
	var text string
	text, c.rest, _ = strings.Cut(c.rest, "\n\n")
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "id":
			e.ID, c.id = value, value
		case "event":
			e.Name = value
		case "data":
			e.Data = value
		case "retry":
			e.Retry = value
		case ":":
		default:
			t.Errorf("line %q", line)
		}
	}
	if e.Name != "state" && e.Name != "change" {
		return e
	}
	if err := json.Unmarshal([]byte(strings.NewReplacer("_gone", "Gone", "_over", "Over", "_s\"", "S\"").Replace(e.Data)), &e.Body); err != nil {
		t.Fatalf("%v: %s", err, e.Data)
	}
	if e.Name == "state" {
		clear(c.riders)
		clear(c.cells)
	}
	if e.Body.RidersOver > 0 {
		clear(c.riders)
	}
	for _, key := range e.Body.RidersGone {
		delete(c.riders, key)
	}
	for _, key := range e.Body.CellsGone {
		delete(c.cells, key)
	}
	for _, r := range e.Body.Riders {
		if c.riders[r[0].(float64)] = r; len(r) > 7 {
			c.names[r[0].(float64)] = r[7].(string)
		}
		if c.names[r[0].(float64)] == "" {
			t.Errorf("rider %v has no name", r)
		}
	}
	for _, r := range e.Body.Cells {
		c.cells[r[0].(float64)] = r
	}
	return e
}

func open(t testing.TB, h *Hub, v fleet.View, last string) (*Viewer, *client) {
	t.Helper()
	viewer, err := h.Open(v, last, func() {})
	if err != nil {
		t.Fatal(err)
	}
	return viewer, newClient(viewer)
}

func (c *client) shown() (names []string) {
	for key := range c.riders {
		names = append(names, c.names[key])
	}
	slices.Sort(names)
	return names
}

func TestEventsOfAViewport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		m, h := testHub(w)
		w.ping(1, 41.5, -8.5)
		w.ping(2, 41.6, -8.6)
		w.ping(3, 51, 7) // elsewhere
		w.cells = []fleet.Activity{cellAt(41.5, -8.5, 7)}
		view := fleet.View{Look: fleet.Look{Riders: true, Res: 8}, Box: city}
		v, c := open(t, h, view, "")

		e := c.next(t)
		if e.Name != "state" || e.Retry != "2000" || e.Body.StaleS != 120 || e.Body.GoneS != 1800 || e.Body.At != time.Now().UnixMilli() {
			t.Errorf("the first event: %+v", e)
		}
		if got := c.shown(); !slices.Equal(got, []string{"r-1", "r-2"}) {
			t.Errorf("riders %v", got)
		}
		r := c.riders[1]
		if want := fmt.Sprint([]any{1., float64(time.Now().UnixMilli()), 41.5, -8.5, 7.3, nil, 0., "r-1", "phone"}); fmt.Sprint(r) != want {
			t.Errorf("rider %v, want %v", r, want)
		}
		if cell := fmt.Sprint(c.cells[1][3:]); cell != fmt.Sprint([]any{7., 1., 0., 0., 3.1, 0., strconv.FormatUint(w.cells[0].Cell, 16)}) {
			t.Errorf("cell %v", cell)
		}

		if e = c.next(t); e.Name != "" || e.ID == "" {
			t.Errorf("nothing happened: %+v", e)
		}
		began := time.Now()
		w.ping(2, 41.6, -8.61)
		w.ping(3, 51, 8)
		if e = c.next(t); e.Name != "change" || len(e.Body.Riders) != 1 || len(e.Body.Riders[0]) < 7 || time.Since(began) > every {
			t.Errorf("one moved: %+v after %v", e, time.Since(began))
		}
		w.ping(1, 51, 7)
		w.ping(3, 41.5, -8.5)
		w.mu.Lock()
		w.cells = nil
		w.mu.Unlock()
		c.next(t)
		if got := c.shown(); !slices.Equal(got, []string{"r-2", "r-3"}) || len(c.cells) != 0 {
			t.Errorf("one left and one came: %v, %d cells", got, len(c.cells))
		}

		// Who comes back within the history gets changes, else everything.
		h.End(v, false)
		w.ping(2, 51, 7)
		time.Sleep(30 * time.Second)
		_, again := open(t, h, view, c.id)
		again.riders, again.names = maps.Clone(c.riders), c.names
		if e = again.next(t); e.Name != "change" || !slices.Equal(again.shown(), []string{"r-3"}) {
			t.Errorf("back after a while: %+v, %v", e, again.shown())
		}
		other := view
		other.Box.West -= 0.1
		for name, look := range map[string]struct {
			view fleet.View
			id   string
		}{"another viewport": {other, c.id}, "another start": {view, "x" + c.id}, "no id of ours": {view, "7"}, "an id to come": {view, strings.Replace(c.id, ".", ".zz", 1)}} {
			v, c := open(t, h, look.view, look.id)
			if e = c.next(t); e.Name != "state" {
				t.Errorf("%s: %+v", name, e)
			}
			h.End(v, false)
		}
		h.Close()
		if _, err := again.r.Read(make([]byte, 100)); err != io.EOF {
			t.Errorf("the hub is closed: %v", err)
		}
		h.End(again.r.(*Viewer), false)
		if s := h.Stats(); s.Viewers != 0 || s.Bytes != 0 || s.Events < 8 {
			t.Errorf("at the end: %+v", s)
		}
		_ = m
		time.Sleep(5 * time.Minute)
	})
}

// A viewer who does not read for a while gets one event about all of it, and others are
// not kept waiting.
func TestSlowViewersSkipAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		_, h := testHub(w)
		for i := range 50 {
			w.ping(i+1, 41.5, -8.5)
		}
		view := fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: city}
		_, slow := open(t, h, view, "")
		_, quick := open(t, h, view, "")
		slow.next(t)
		quick.next(t)
		r := rand.New(rand.NewPCG(5, 6))
		for n := range 300 {
			for range 5 {
				lat := 41.5
				if r.IntN(3) == 0 {
					lat = 51
				}
				w.ping(1+r.IntN(50), lat, -8.5+r.Float64()/10)
			}
			began := time.Now()
			quick.next(t)
			if d := time.Since(began); d > every {
				t.Fatalf("event %d came after %v", n, d)
			}
			if n == 20 || n == 60 || n == 299 { // the last behind the history
				slow.rest = ""
				for first := true; first || slow.id != quick.id; first = false {
					slow.next(t)
				}
				if !slices.Equal(slow.shown(), quick.shown()) {
					t.Errorf("after %d events: %v, want %v", n, slow.shown(), quick.shown())
				}
				for key, r := range quick.riders {
					if fmt.Sprint(slow.riders[key][:7]) != fmt.Sprint(r[:7]) {
						t.Errorf("after %d events rider %v is %v", n, r, slow.riders[key])
					}
				}
			}
		}
		if s := h.Stats(); s.Skipped < 250 || s.Skipped > 310 || s.Viewers != 2 || s.Bytes <= 0 || s.Bytes > 2*ViewerBytes {
			t.Errorf("%+v", s)
		}
		h.Close()
		time.Sleep(5 * time.Minute)
	})
}

// A rider who goes silent is marked within a minute of the limit, and then is gone; a cell
// is gone when its activity is.
func TestSilenceIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		_, h := testHub(w)
		w.ping(1, 41.5, -8.5)
		w.ping(2, 41.5, -8.5)
		_, c := open(t, h, fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: city}, "")
		began := time.Now()
		var stale, gone time.Duration
		for gone == 0 && time.Since(began) < time.Hour {
			w.ping(2, 41.5, -8.5)
			c.next(t)
			switch r := c.riders[1]; {
			case r == nil:
				gone = time.Since(began)
			case stale == 0 && r[6] == 1.:
				stale = time.Since(began)
			}
		}
		if stale < fleet.StaleAfter || stale > fleet.StaleAfter+time.Minute || gone < fleet.GoneAfter || gone > fleet.GoneAfter+time.Minute {
			t.Errorf("stale after %v, gone after %v", stale, gone)
		}
		if r := c.riders[2]; r == nil || r[6] != 0. {
			t.Errorf("the other is %v", r)
		}
		w.ping(1, 41.5, -8.5)
		c.next(t)
		c.next(t)
		if r := c.riders[1]; r == nil || r[6] != 0. {
			t.Errorf("back again: %v", r)
		}
		h.Close()
		time.Sleep(5 * time.Minute)
	})
}

// While there is nothing to look at, viewers are told why, once, and go on afterwards.
func TestPausedStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		m := fleet.New(fleet.Config{Newest: w.newest, MaxRiders: 1000})
		var paused atomic.Value
		paused.Store("")
		h := New(Config{Map: m, Viewers: 2, Paused: func() string { return paused.Load().(string) }})
		w.ping(1, 41.5, -8.5)
		view := fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: city}
		_, c := open(t, h, view, "")
		c.next(t)
		c.next(t)
		paused.Store("overloaded")
		w.ping(1, 41.6, -8.5)
		if e := c.next(t); e.Name != "paused" || e.Data != `{"reason":"overloaded"}` || e.ID != "" {
			t.Errorf("paused: %+v", e)
		}
		if e := c.next(t); e.Name != "" || e.ID != "" {
			t.Errorf("still paused: %+v", e)
		}
		paused.Store("")
		w.mu.Lock()
		w.err = ingest.ErrUnavailable
		w.mu.Unlock()
		if e := c.next(t); e.Name != "paused" || !strings.Contains(e.Data, "where the riders are is not known now") {
			t.Errorf("the writer does not answer: %+v", e)
		}
		if _, err := h.Open(view, "", func() {}); !errors.Is(err, ingest.ErrUnavailable) {
			t.Errorf("another viewer: %v", err)
		}
		w.mu.Lock()
		w.err = nil
		w.mu.Unlock()
		if e := c.next(t); e.Name != "change" || c.riders[1][2] != 41.6 {
			t.Errorf("and goes on: %+v", e)
		}
		if _, err := h.Open(view, "", func() {}); err != nil {
			t.Error(err)
		}
		if _, err := h.Open(view, "", func() {}); !errors.Is(err, ErrFull) {
			t.Errorf("one too many: %v", err)
		}
		h.Close()
		time.Sleep(5 * time.Minute)
	})
}

// A viewport with too many riders is told so, and gets them once they are fewer.
func TestTooManyRiders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(world)
		for i := range fleet.ViewRiders + 1 {
			w.ping(i+1, 41.5, -8.5+float64(i%1000)/5000)
		}
		m := fleet.New(fleet.Config{Newest: w.newest, MaxRiders: 50_000})
		h := New(Config{Map: m})
		_, c := open(t, h, fleet.View{Look: fleet.Look{Riders: true, Res: -1}, Box: city}, "")
		if e := c.next(t); e.Body.RidersOver != fleet.ViewRiders || len(c.riders) != 0 {
			t.Errorf("%d riders, over %d", len(c.riders), e.Body.RidersOver)
		}
		w.ping(1, 51, 7)
		for range 2 {
			c.next(t)
		}
		if len(c.riders) != fleet.ViewRiders {
			t.Errorf("%d riders once they are fewer", len(c.riders))
		}
		if s := h.Stats(); s.Bytes > ViewerBytes {
			t.Errorf("a viewer takes %d bytes of at most %d", s.Bytes, int64(ViewerBytes))
		}
		w.ping(1, 41.5, -8.5)
		for range 2 {
			c.next(t)
		}
		if len(c.riders) != 0 {
			t.Errorf("%d riders though they are too many again", len(c.riders))
		}
		h.Close()
		time.Sleep(5 * time.Minute)
	})
}
