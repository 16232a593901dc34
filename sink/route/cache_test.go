package route

import (
	"runtime"
	"sync"
	"testing"

	"pingline"
	"pingline/queue"
	"pingline/sink/store/storetest"
)

// traffic returns n commits of 500 entries.
func traffic(n int) (list []queue.Record) {
	for i := range n {
		list = append(list, queue.Record{Number: uint64(i + 1), Payload: storetest.Commit(storetest.Traffic(uint64(i), 500)...)})
	}
	return list
}

// However many lanes ask, and wherever they stand, each is told the same, and
// the cached bytes are bounded.
func TestRouteCache(t *testing.T) {
	list := traffic(2 * CacheBytes / (250 * slotBytes))
	d := &Cache{laneOf: func(e *pingline.Entry, _ int64) LaneID {
		if !e.Stored() {
			return NoLane
		}
		return LaneID(e.At % 7)
	}}
	var wg sync.WaitGroup
	for lane := range 8 {
		wg.Go(func() {
			for i := range list {
				rec := list[(i+lane/4*len(list)/2)%len(list)] // half of them are elsewhere
				got := d.Route(&rec)
				if len(got.Slots) != 250 || got.Found[pingline.TotalStored] != 250 || got.Err != nil {
					t.Errorf("commit %d: %d slots, found %v, %v", rec.Number, len(got.Slots), got.Found, got.Err)
				}
				for _, p := range got.Slots[:3] {
					var e pingline.Entry
					if _, err := pingline.DecodeEntry(&e, rec.Payload[p.Offset:], got.At); err != nil || LaneID(e.At%7) != p.Lane {
						t.Errorf("commit %d at %d: %v, %+v", rec.Number, p.Offset, err, e)
					}
				}
			}
		})
	}
	wg.Wait()
	kept := 0
	for number, c := range d.commits {
		kept += routedBytes + slotBytes*cap(c.Slots)
		if c.element == nil || c.element.Value != c || c.number != number {
			t.Errorf("commit %d is known, but not in the order", number)
		}
	}
	if kept > CacheBytes || kept != d.Size() || len(d.commits) != d.order.Len() || kept < CacheBytes/2 {
		t.Errorf("%d bytes are kept, %d counted, of %d commits, %d in order", kept, d.Size(), len(d.commits), d.order.Len())
	}
	last := list[len(list)-1]
	if first := d.Route(&last); d.Route(&last) != first {
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
		"nothing stored": storetest.Commit(storetest.Held(20)...),
		"one stored":     storetest.Commit(append(storetest.Held(20), storetest.Fleet(1, 1)...)...),
		"all stored":     storetest.Commit(storetest.Fleet(1, 40)...),
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRouter(Layout{Shards: []string{"a"}})
			d := &Cache{laneOf: r.LaneOf, lanes: 4}
			before, n := heap(), uint64(0)
			for size := -1; size != d.Size(); { // until it holds as much as it will
				size = d.Size()
				for range 2 * CacheBytes / routedBytes {
					n++
					d.Route(&queue.Record{Number: n, Payload: payload})
				}
			}
			took := heap() - before
			if d.Size() > CacheBytes || took > d.Size()*3/2+64<<10 {
				t.Errorf("after %d commits %d bytes are counted, of %d at most, and %d are taken", n, d.Size(), CacheBytes, took)
			}
			runtime.KeepAlive(d)
		})
	}
}

// A commit that all lanes have read is evicted, though nothing comes after it.
func TestRouteCacheEvictsCommitsAllHaveRead(t *testing.T) {
	d := &Cache{laneOf: func(*pingline.Entry, int64) LaneID { return 0 }, lanes: 4}
	for i, rec := range traffic(100) {
		for lane := range 4 {
			d.Route(&rec)
			if known := len(d.commits) == 1; known != (lane < 3) {
				t.Fatalf("commit %d, asked for by %d lanes of 4: kept %v", i, lane+1, known)
			}
		}
	}
	if d.Size() != 0 {
		t.Errorf("%d bytes of nothing", d.Size())
	}
}
