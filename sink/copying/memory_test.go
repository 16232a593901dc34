package copying

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// crowd is a store with many rows, of which it keeps none in memory.
type crowd struct {
	store.Store
	rows int
	long int    // bytes of the name of every hundredth, if not 0
	heap uint64 // most bytes at the end of a reading
}

const riders = 100

func (c *crowd) Points(_ context.Context, q store.Query, each func(e *pingline.Entry, nano int64) error) error {
	e := pingline.Entry{Verdict: pingline.Accepted}
	for i := range c.rows {
		if e.Rider, e.At = fmt.Sprintf("rider %02d", i%riders), int64(i); e.At < q.From || e.At >= q.To {
			continue
		}
		if i%riders == 0 && c.long > 0 {
			e.Rider = strings.Repeat("r", c.long)
		}
		if err := each(&e, 0); err != nil {
			return err
		}
	}
	c.heap = max(c.heap, heap())
	return nil
}

func (c *crowd) AppendRow(dst []byte, _ *pingline.Entry) []byte { return append(dst, '.') }

func (c *crowd) Write(context.Context, store.Rows) error { return nil }

// A row with a name that is too long is handed over once and counted, also where its slice is
// read again, in parts.
func TestForeignRowsAreHandedOverOnce(t *testing.T) {
	handed := 0
	from := &crowd{rows: 2 * MostRows, long: maxString + 1}
	c, err := New(Config{From: from, To: &crowd{}, Refused: func(*pingline.Entry, error) error { handed++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Copy(t.Context(), Unit{To: 24 * 60 * 60 * 1000})
	if err != nil || handed != from.rows/riders || n.Rows != uint64(from.rows) || n.Refused != uint64(handed) {
		t.Errorf("of %d rows %d were handed over, counted %+v, %v", from.rows, handed, n, err)
	}
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
