package sink

import (
	"runtime"
	"sync"
	"testing"

	"pingline"
	"pingline/queue"
)

// However many lanes ask, and wherever they stand, each is told the same, and
// the cached bytes are bounded.
func TestRouteCache(t *testing.T) {
	list := commits(2 * routeCacheBytes / (250 * slotBytes))
	d := &routeCache{laneOf: func(e *pingline.Entry, _ int64) laneID {
		if !e.Stored() {
			return noLane
		}
		return laneID(e.At % 7)
	}}
	var wg sync.WaitGroup
	for lane := range 8 {
		wg.Go(func() {
			for i := range list {
				rec := list[(i+lane/4*len(list)/2)%len(list)] // half of them are elsewhere
				got := d.route(&rec)
				if len(got.slots) != 250 || got.found[pingline.TotalStored] != 250 || got.err != nil {
					t.Errorf("commit %d: %d slots, found %v, %v", rec.Number, len(got.slots), got.found, got.err)
				}
				for _, p := range got.slots[:3] {
					var e pingline.Entry
					if _, err := pingline.DecodeEntry(&e, rec.Payload[p.offset:], got.at); err != nil || laneID(e.At%7) != p.lane {
						t.Errorf("commit %d at %d: %v, %+v", rec.Number, p.offset, err, e)
					}
				}
			}
		})
	}
	wg.Wait()
	kept := 0
	for number, c := range d.commits {
		kept += routedBytes + slotBytes*cap(c.slots)
		if c.element == nil || c.element.Value != c || c.number != number {
			t.Errorf("commit %d is known, but not in the order", number)
		}
	}
	if kept > routeCacheBytes || kept != d.size() || len(d.commits) != d.order.Len() || kept < routeCacheBytes/2 {
		t.Errorf("%d bytes are kept, %d counted, of %d commits, %d in order", kept, d.size(), len(d.commits), d.order.Len())
	}
	last := list[len(list)-1]
	if first := d.route(&last); d.route(&last) != first {
		t.Error("a commit was routed twice though nothing came between")
	}
}

// heap returns how many bytes live on the heap.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The commits of a fleet that stands still hold nothing that is stored. They too
// take room, and no more than is counted, with slots or without.
func TestRouteCacheCountsItsBytes(t *testing.T) {
	for name, payload := range map[string][]byte{
		"nothing stored": commit(held(20)...),
		"one stored":     commit(append(held(20), fleet(1, 1)...)...),
		"all stored":     commit(fleet(1, 40)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := Sink{cfg: Config{Shards: []Shard{{Name: "a"}}}}
			s.router = newRouter(&s.cfg)
			d := &routeCache{laneOf: s.router.laneOf, lanes: 4}
			before, n := heap(), uint64(0)
			for size := -1; size != d.size(); { // until it holds as much as it will
				size = d.size()
				for range 2 * routeCacheBytes / routedBytes {
					n++
					d.route(&queue.Record{Number: n, Payload: payload})
				}
			}
			took := heap() - before
			if d.size() > routeCacheBytes || took > d.size()*3/2+64<<10 {
				t.Errorf("after %d commits %d bytes are counted, of %d at most, and %d are taken", n, d.size(), routeCacheBytes, took)
			}
			runtime.KeepAlive(d)
		})
	}
}

// A commit that all lanes have read is evicted, though nothing comes after it.
func TestRouteCacheEvictsCommitsAllHaveRead(t *testing.T) {
	d := &routeCache{laneOf: func(*pingline.Entry, int64) laneID { return 0 }, lanes: 4}
	for i, rec := range commits(100) {
		for lane := range 4 {
			d.route(&rec)
			if known := len(d.commits) == 1; known != (lane < 3) {
				t.Fatalf("commit %d, asked for by %d lanes of 4: kept %v", i, lane+1, known)
			}
		}
	}
	if d.size() != 0 {
		t.Errorf("%d bytes of nothing", d.size())
	}
}
