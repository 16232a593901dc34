package fleet

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
)

// pretend is a writer whose filter knows some tracks.
type pretend struct {
	list   []dedupe.Newest
	stamps []uint64
	stamp  uint64
	filter uint64
	part   int
	asked  int // tracks looked at that had a ping
	err    error
}

func (p *pretend) newest(n *ingest.NewestPings) error {
	if p.err != nil {
		return p.err
	}
	n.List, n.Stamp, n.Filter = n.List[:0], p.stamp, p.filter
	for i := int(n.Track); i < len(p.list); i++ {
		if p.stamps[i] > n.Since {
			n.List = append(n.List, p.list[i])
			p.asked++
		}
		if n.Track = uint32(i + 1); len(n.List) == p.part {
			break
		}
	}
	if int(n.Track) == len(p.list) {
		n.Track = 0
	}
	return nil
}

// set has a track pinged, by number from 1.
func (p *pretend) set(track int, name string, at time.Time, lat, lon float64) {
	for len(p.list) < track {
		p.list, p.stamps = append(p.list, dedupe.Newest{Track: uint32(len(p.list) + 1)}), append(p.stamps, 0)
	}
	n := &p.list[track-1]
	n.Name, n.Fix = name, pingline.Fix{At: at.UnixMilli()}
	if err := n.Fix.SetPosition(lat, lon); err != nil {
		panic(err)
	}
	p.stamp++
	p.stamps[track-1] = p.stamp
}

func testMap(p *pretend) *Map {
	p.filter, p.part = max(p.filter, 1), max(p.part, 3)
	return New(Config{Newest: p.newest, MaxRiders: 1000})
}

// pagesOf returns the names on all pages, in their order.
func pagesOf(t *testing.T, m *Map, box partition.Box, limit int) (names []string) {
	t.Helper()
	q := InBox{Box: box, Since: math.MinInt64, Limit: limit}
	for {
		p, err := m.Riders(&q)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.List) > limit || p.Next != "" && len(p.List) < limit {
			t.Errorf("a page of %d of at most %d, the next is %q", len(p.List), limit, p.Next)
		}
		for i := range p.List {
			names = append(names, p.List[i].Rider+"/"+p.List[i].Device)
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return names
		}
	}
}

func TestPagesOfRiders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(pretend)
		m := testMap(p)
		var all, south []string
		for i := range 100 {
			lat := 41 + float64(i%2)
			p.set(i+1, fmt.Sprint("r-", i, "\x00phone"), time.Now(), lat, -8+float64(i)/1000)
			all = append(all, fmt.Sprint("r-", i, "/phone"))
			if lat == 41 {
				south = append(south, all[i])
			}
		}
		for _, limit := range []int{1, 7, 50, 100, 1000} {
			if got := pagesOf(t, m, globe, limit); !slices.Equal(got, all) {
				t.Errorf("pages of %d: %v", limit, got)
			}
			if got := pagesOf(t, m, partition.Box{West: -9, South: 40.9, East: -7, North: 41.1}, limit); !slices.Equal(got, south) {
				t.Errorf("pages of %d of the south: %v", limit, got)
			}
			if got := pagesOf(t, m, partition.Box{West: -8, South: 41, East: -7.998, North: 42}, limit); !slices.Equal(got, all[:3]) {
				t.Errorf("pages of %d of a small box: %v", limit, got)
			}
		}
		page, err := m.Riders(&InBox{Box: globe, Since: time.Now().UnixMilli() + 1, Limit: 10})
		if err != nil || len(page.List) != 0 {
			t.Errorf("%d are from the future, %v", len(page.List), err)
		}
		if p.asked != 100 {
			t.Errorf("the writer was asked for %d tracks in a second, of 100", p.asked)
		}
		page, err = m.Riders(&InBox{Box: globe, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		p.filter++ // the tracks are numbered anew
		time.Sleep(snapshotEvery)
		for _, cursor := range []string{page.Next, "x", ".", page.Next + "x-", "."} {
			if _, err := m.Riders(&InBox{Box: globe, Limit: 10, Cursor: cursor}); !errors.Is(err, ErrCursor) {
				t.Errorf("cursor %q: %v", cursor, err)
			}
		}
		if got := pagesOf(t, m, globe, 10); !slices.Equal(got, all) {
			t.Errorf("after a reload: %v", got)
		}
		m.idle.Stop()
	})
}

// A rider who goes silent is marked within a minute of the limit, and who moves on is
// seen where they are.
func TestSilentRidersAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(pretend)
		m := testMap(p)
		for i := range 50 {
			p.set(i+1, fmt.Sprint("r-", i), time.Now(), 41, -8)
		}
		look := func() (stale, shown int) {
			t.Helper()
			page, err := m.Riders(&InBox{Box: globe, Since: math.MinInt64, Limit: 100})
			if err != nil || len(page.List) != 50 {
				t.Fatalf("%d riders, %v", len(page.List), err)
			}
			for i := range page.List {
				if page.Stale(&page.List[i]) {
					stale++
				}
			}
			v := ViewportOf(globe, 0)
			return stale, m.grid.shown(&v, 100)
		}
		wait := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(snapshotEvery) {
				p.set(50, "r-49", time.Now(), 41, -8) // one goes on
				if err := m.Refresh(Look{Riders: true, Res: -1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		marked := func() (n int) {
			for i := uint32(1); i <= m.rows.Last; i++ {
				if m.rows.At(i).stale {
					n++
				}
			}
			return n
		}
		wait(StaleAfter - time.Second)
		if stale, shown := look(); stale != 0 || marked() != 0 || shown != 50 {
			t.Errorf("before the limit %d are stale, %d marked, %d shown", stale, marked(), shown)
		}
		wait(time.Minute)
		if stale, shown := look(); stale != 49 || marked() != 49 || shown != 50 {
			t.Errorf("a minute behind the limit %d are stale, %d marked, %d shown", stale, marked(), shown)
		}
		wait(GoneAfter - StaleAfter)
		if stale, shown := look(); stale != 49 || shown != 1 {
			t.Errorf("a minute behind the second limit %d are stale, %d shown", stale, shown)
		}
		p.set(1, "r-0", time.Now(), 41, -8)
		wait(time.Second)
		if _, shown := look(); shown != 2 || marked() != 48 {
			t.Errorf("one is back: %d shown, %d marked", shown, marked())
		}
		m.idle.Stop()
	})
}

// When nobody looks any more, everything is forgotten; who looks then sees all there is.
func TestNobodyLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(pretend)
		m := testMap(p)
		if m.Bytes() != 0 {
			t.Errorf("%d bytes before a look", m.Bytes())
		}
		for i := range 20 {
			p.set(i+1, fmt.Sprint("r-", i), time.Now(), 41, -8)
		}
		if n := len(pagesOf(t, m, globe, 100)); n != 20 {
			t.Fatalf("%d riders", n)
		}
		most := m.cfg.MaxBytes()
		if n := m.Bytes(); n == 0 || n > most {
			t.Errorf("%d bytes of at most %d", n, most)
		}
		time.Sleep(idleAfter / 2)
		if err := m.Refresh(Look{Riders: true, Res: -1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleAfter - time.Second)
		if m.Bytes() == 0 {
			t.Error("forgotten too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if m.Bytes() != 0 {
			t.Errorf("%d bytes are kept for nobody", m.Bytes())
		}
		p.err = ingest.ErrUnavailable
		if _, err := m.Riders(&InBox{Box: globe, Limit: 1}); !errors.Is(err, ingest.ErrUnavailable) {
			t.Errorf("the writer does not answer: %v", err)
		}
		p.err = nil
		if n := len(pagesOf(t, m, globe, 100)); n != 20 {
			t.Errorf("%d riders for who looks again", n)
		}
		m.idle.Stop()
	})
}
