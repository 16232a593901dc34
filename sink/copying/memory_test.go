package copying

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pingline"
	"pingline/sink/store"
)

// crowd is a store with many rows, of which it keeps none in memory.
type crowd struct {
	store.Store
	rows int
	long int // bytes of the name of every hundredth, if not 0
	fail int // readings that break off in the middle

	mu   sync.Mutex
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
		if c.fail > 0 && i == c.rows/2 {
			c.fail--
			return fmt.Errorf("the line is cut")
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heap = max(c.heap, heap())
	return nil
}

func (c *crowd) AppendRow(dst []byte, _ *pingline.Entry) []byte {
	return append(dst, "a row of about sixty bytes, as a line of line protocol is one"...)
}

func (c *crowd) Write(context.Context, store.Rows) error { return nil }

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

var wholeDay = []Planned{{Unit: Unit{To: 24 * 60 * 60 * 1000}}}

// A row with a name that is too long is handed over and counted; where the reading of its day
// broke off, the caller is told to forget the rows that it was handed.
func TestForeignRowsAreHandedOver(t *testing.T) {
	handed, again := 0, 0
	from := &crowd{rows: 20_000, long: maxString + 1, fail: 1}
	c, err := New(Config{From: from, To: []Target{{Store: &crowd{}}}, Readers: 1,
		Refused: func(*pingline.Entry, error) error { handed++; return nil }, Again: func() error { handed = 0; again++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Copy(t.Context(), wholeDay); err != nil || handed != from.rows/riders || again != 1 || c.Status().Refused != uint64(handed) {
		t.Errorf("of %d rows %d were handed over after %d readings more, counted %+v, %v", from.rows, handed, again, c.Status(), err)
	}
}

// A day of 400,000 rows, of which the target lacks all or some, is copied and compared without
// memory for each row.
func TestMemory(t *testing.T) {
	from, to := &crowd{rows: 400_000}, &crowd{}
	c, err := New(Config{From: from, To: []Target{{Store: to}}, Whole: true})
	if err != nil {
		t.Fatal(err)
	}
	before := heap()
	if err := c.Copy(t.Context(), wholeDay); err != nil || c.Status().Done != 1 {
		t.Fatalf("%+v, %v", c.Status(), err)
	}
	each := uint64(from.rows / riders)
	named := 0
	n, err := c.Verify(t.Context(), wholeDay, 1, false, func(d *Difference) {
		if named++; d.From != each || d.Has != 0 || d.OnlyInFrom != each || d.OnlyInTo != 0 {
			t.Errorf("%v", d)
		}
	})
	if err != nil || n != riders || named != mostNamed {
		t.Fatalf("%d differences, %d named, %v", n, named, err)
	}
	if took := int64(from.heap) - int64(before); took > 16<<20 {
		t.Errorf("it took %d bytes", took)
	}
}

// manySeries is a store with a series for each row.
type manySeries struct {
	crowd
	more int // rows that the other side has not, in series of its own
}

func (m *manySeries) Points(_ context.Context, _ store.Query, each func(e *pingline.Entry, nano int64) error) error {
	e := pingline.Entry{Verdict: pingline.Accepted}
	var name []byte
	for i := range m.rows + m.more {
		name = fmt.Appendf(name[:0], "r%d", i)
		e.Rider, e.At = string(name), int64(i)
		if err := each(&e, 0); err != nil {
			return err
		}
	}
	return nil
}

// A target's own series do not count, also where the source has more series than are held.
func TestManySeriesArePassedOverInParts(t *testing.T) {
	const rows = 5000
	from, to := &manySeries{crowd: crowd{rows: rows}}, &manySeries{crowd: crowd{rows: rows}, more: 50}
	c, err := New(Config{From: from, To: []Target{{Store: to}}})
	if err != nil {
		t.Fatal(err)
	}
	c.mostSeries = rows / 5
	for i, want := range []int{0, 2} {
		from.rows, to.rows, to.more = rows+i, rows-i, 50-50*i
		n, err := c.Verify(t.Context(), wholeDay, 1, false, func(*Difference) {})
		if err != nil || n != want {
			t.Errorf("%d differences, want %d: %v", n, want, err)
		}
	}
}
