package ops

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

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
