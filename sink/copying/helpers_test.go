package copying_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pingline"
	"pingline/sink/copying"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// patience is how long a busy machine may take.
const patience = 4 * time.Minute

// none fails a test whose target refuses a row.
func none(t testing.TB) func(e *pingline.Entry, why error) error {
	return func(e *pingline.Entry, why error) error {
		t.Errorf("refused %+v: %v", e, why)
		return nil
	}
}

// write writes rows.
func write(t testing.TB, to store.Store, list ...pingline.Entry) {
	t.Helper()
	for len(list) > 0 {
		n := min(len(list), 2000)
		var rows store.Rows
		for i := range list[:n] {
			rows.Bytes = to.AppendRow(rows.Bytes, &list[i])
			rows.N++
		}
		if err := to.Write(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		list = list[n:]
	}
}

// history is pings and points of three days.
func history(n int) []pingline.Entry {
	return append(storetest.Days(n), storetest.DayPoints("cell_activity", 60)...)
}

// stored returns all pings of a store.
func stored(t *testing.T, s store.Store) (list []pingline.Entry) {
	t.Helper()
	err := s.(store.Reader).Points(t.Context(), store.All(), func(e *pingline.Entry, _ int64) error {
		c := *e
		c.Rider, c.Device, c.Event, c.Trip = strings.Clone(e.Rider), strings.Clone(e.Device), strings.Clone(e.Event), strings.Clone(e.Trip)
		list = append(list, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// newCopier returns a Copier of all history, and the plan.
func newCopier(t *testing.T, cfg copying.Config) (*copying.Copier, []copying.Planned) {
	t.Helper()
	cfg.Names = []string{"cell_activity"}
	c, err := copying.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := c.Plan(t.Context(), math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	return c, plan
}

// copies copies a plan.
func copies(t *testing.T, c *copying.Copier, plan []copying.Planned) {
	t.Helper()
	if err := c.Copy(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
}

// differences compares all rows of a plan.
func differences(t *testing.T, c *copying.Copier, plan []copying.Planned, again bool) (list []copying.Difference) {
	t.Helper()
	n, err := c.Verify(t.Context(), plan, 1, again, func(d *copying.Difference) { list = append(list, *d) })
	if err != nil || n != len(list) {
		t.Fatalf("%d differences, %d named, %v", n, len(list), err)
	}
	return list
}

// until waits until ok.
func until(t *testing.T, event string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: not %s", patience, event)
		}
	}
}
