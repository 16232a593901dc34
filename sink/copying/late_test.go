package copying_test

import (
	"fmt"
	"testing"

	"pingline"
	"pingline/sink/copying"
	"pingline/sink/limit"
	"pingline/sink/store/storetest"
)

// Rows that come to the source between the comparison of a unit and its deletion are copied before
// the unit is deleted, or keep it.
func TestRowsThatComeBeforeADeletion(t *testing.T) {
	for _, tt := range []struct {
		name string
		most int // rows that come
		kept bool
	}{{"once", 1, false}, {"again and again", 1 << 30, true}} {
		t.Run(tt.name, func(t *testing.T) {
			from, to := twoBuckets(t, 1)
			list := storetest.Days(60)
			for i := range list {
				list[i].Cell = list[0].Cell
			}
			write(t, from, list...)
			var latch limit.Latch
			deleting, came := false, 0
			gauges := copying.Gauges{Breaker: func() string {
				if deleting && came < tt.most { // the second time is between comparison and deletion
					e := list[9]
					e.Rider = fmt.Sprint("late ", came)
					list = append(list, e)
					latch.Enter([]int64{e.At}, []int{0})
					write(t, from, e)
					latch.Leave()
					came++
				}
				return ""
			}}
			if tt.most == 1 {
				inner, calls := gauges.Breaker, 0
				gauges.Breaker = func() string {
					if deleting {
						calls++
					}
					if calls == 2 {
						return inner()
					}
					return ""
				}
			}
			c, plan := newCopier(t, copying.Config{From: from, To: []copying.Target{{Store: to}}, Shared: true, Latch: &latch, Gauges: gauges, Refused: none(t)})
			copies(t, c, plan)
			deleting = true
			kept := 0
			if err := c.Delete(t.Context(), plan, func(copying.Unit, string) { kept++ }); err != nil {
				t.Fatal(err)
			}
			if came == 0 || tt.kept != (kept > 0) {
				t.Errorf("%d rows came, %d units of %d are kept", came, kept, len(plan))
			}
			is := func(e *pingline.Entry) string { return fmt.Sprint(e.Rider, " ", e.At, " ", e.Device) }
			left := map[string]bool{}
			for _, e := range append(stored(t, from), stored(t, to)...) {
				left[is(&e)] = true
			}
			for i := range list {
				if e := &list[i]; e.Point == nil && !left[is(e)] {
					t.Errorf("%s is nowhere", is(e))
				}
			}
			if n := len(stored(t, from)); !tt.kept && n > 0 {
				t.Errorf("%d rows are left", n)
			}
		})
	}
}
