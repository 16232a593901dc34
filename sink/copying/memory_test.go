package copying

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// crowd is a store with many rows, of which it keeps none in memory.
type crowd struct {
	store.Store
	rows int
	heap uint64 // most bytes at the end of a reading
}

const riders = 100

func (c *crowd) Points(_ context.Context, _ store.Query, each func(e *pingline.Entry, nano int64) error) error {
	e := pingline.Entry{Kind: pingline.Judged}
	for i := range c.rows {
		e.Rider, e.At = fmt.Sprintf("rider %02d", i%riders), int64(i)
		if err := each(&e, 0); err != nil {
			return err
		}
	}
	c.heap = max(c.heap, heap())
	return nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A day that the target lacks as a whole is compared without a number in memory for each row.
func TestMemoryOfAComparison(t *testing.T) {
	from, to := &crowd{rows: 1_000_000}, &crowd{}
	c, err := New(Config{From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	list, n, err := c.Compare(t.Context(), Unit{To: 24 * 60 * 60 * 1000})
	if err != nil || n != riders || len(list) != mostNamed {
		t.Fatalf("%d differences, %d named, %v", n, len(list), err)
	}
	each := uint64(from.rows / riders)
	for _, d := range list {
		if d.From != each || d.To != 0 || d.OnlyInFrom != each || d.OnlyInTo != 0 {
			t.Errorf("%v", &d)
		}
	}
	if took := int64(from.heap) - int64(before); took > 16<<20 {
		t.Errorf("the comparison took %d bytes", took)
	}
}
