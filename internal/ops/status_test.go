package ops

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pingline/query/status"
	"pingline/sink/moving"
	"pingline/sink/reshard"
)

// A status tells of changes of shards that are not over, and of history that is worked on after
// one; the words of a store stay out of it.
func TestChangesThatGoOn(t *testing.T) {
	b := Books{
		Changes: []reshard.SetStatus{
			{Set: "main", Phase: reshard.Dual, Do: "add c"}, {Set: "idle", Phase: reshard.Settled, Do: "add d"},
			{Set: "late", Phase: reshard.Settled, Do: "add e"}, {Set: "plain", Phase: reshard.Cut, Do: "weight of f 2"},
		},
		Moving: []moving.MoveStatus{
			{Set: "main", Stage: moving.Copying, Rows: 3, RowsDone: 1, Rate: 8000.12345, Left: 57, Stands: "c: Post http://u:p@c:8086: refused", Briefly: "c takes no rows"},
			{Set: "idle", Stage: moving.Moved}, {Set: "late", Stage: moving.Deleting},
		},
	}
	third, none := 0.333, 0.0
	want := []status.ShardChange{
		{Set: "main", Phase: "dual", What: "add c", History: "copying", Done: &third, RowsPerS: 8000.123, LeftS: 57, Stands: "c takes no rows"},
		{Set: "late", Phase: "settled", What: "add e", History: "deleting", Done: &none},
		{Set: "plain", Phase: "cut", What: "weight of f 2"},
	}
	if got := b.goingOn(); !reflect.DeepEqual(got, want) {
		t.Errorf("these go on: %+v, want %+v", got, want)
	}
}

// The freshness that a status tells is within the buckets of the histogram that /metrics
// has, is exact to 1 %, and is of the pings since it was asked before; backfill does not
// count.
func TestFreshnessSinceBefore(t *testing.T) {
	m := NewMetrics()
	if p50, p99 := m.Freshness(); !math.IsNaN(p50) || !math.IsNaN(p99) {
		t.Errorf("of no ping %v and %v", p50, p99)
	}
	for range 2 {
		for i := range 100 {
			m.ObserveFreshness("a", "live", slices.Values([]float64{float64(i+1) / 20})) // 0.05 to 5 s
			m.ObserveFreshness("b", "critical", slices.Values([]float64{float64(i+1) / 20}))
			m.ObserveFreshness("b", "backfill", slices.Values([]float64{5000}))
		}
		p50, p99 := m.Freshness()
		if math.Abs(p50/2.5-1) > 0.01 || math.Abs(p99/4.95-1) > 0.01 {
			t.Errorf("half are %v s old at most, 99 %% are %v s old; want 2.5 and 4.95", p50, p99)
		}
		for lane, most := range map[string]float64{"live": p99, "critical": p99} {
			var told dto.Metric
			if err := m.freshness.WithLabelValues(lane).(prometheus.Metric).Write(&told); err != nil {
				t.Fatal(err)
			}
			h := told.Histogram
			for i, b := range h.Bucket {
				if b.GetCumulativeCount()*100 >= h.GetSampleCount()*99 {
					if most > b.GetUpperBound() || i > 0 && most < h.Bucket[i-1].GetUpperBound() {
						t.Errorf("%v is not in the bucket up to %v", most, b.GetUpperBound())
					}
					break
				}
			}
		}
	}
	if p50, _ := m.Freshness(); !math.IsNaN(p50) {
		t.Errorf("it tells %v twice", p50)
	}
}
