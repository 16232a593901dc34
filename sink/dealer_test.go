package sink

import (
	"slices"
	"sync"
	"testing"

	"pingline"
)

// However many lanes ask, and wherever they stand, each is told the same, and
// what is kept is bounded.
func TestDealer(t *testing.T) {
	list := commits(2 * maxPlaces / 250)
	d := &dealer{owner: func(e *pingline.Entry, _ int64) owner {
		if !e.Stored() {
			return nobody
		}
		return owner(e.At % 7)
	}}
	var wg sync.WaitGroup
	for lane := range 8 {
		wg.Go(func() {
			for i := range list {
				rec := list[(i+lane/4*len(list)/2)%len(list)] // half of them are elsewhere
				got := d.deal(&rec)
				if len(got.places) != 250 || got.found[pingline.TotalStored] != 250 || got.err != nil {
					t.Errorf("commit %d: %d places, found %v, %v", rec.Number, len(got.places), got.found, got.err)
				}
				for _, p := range got.places[:3] {
					var e pingline.Entry
					if err := pingline.DecodeEntry(&e, rec.Payload[p.offset:], got.at); err != nil || owner(e.At%7) != p.owner {
						t.Errorf("commit %d at %d: %v, %+v", rec.Number, p.offset, err, e)
					}
				}
			}
		})
	}
	wg.Wait()
	kept := 0
	for number, c := range d.known {
		kept += len(c.places)
		if !slices.Contains(d.order, number) {
			t.Errorf("commit %d is known, but not in the order", number)
		}
	}
	if kept > maxPlaces || kept != d.places || len(d.known) != len(d.order) || kept < maxPlaces/2 {
		t.Errorf("%d places are kept, %d counted, of %d commits, %d in order", kept, d.places, len(d.known), len(d.order))
	}
	last := list[len(list)-1]
	if first := d.deal(&last); d.deal(&last) != first {
		t.Error("a commit was dealt twice though nothing came between")
	}
}
