package copying_test

import (
	"math"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/copying"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkCopy copies a million points of 20,000 riders in 16 cells from one real InfluxDB 1.8
// into another, and compares them. Both run on one machine: points/s is what they and the copier
// do together.
func BenchmarkCopy(b *testing.B) {
	const riders, points = 20_000, 1_000_000
	db := influxd.Run(b, influxd.Config{Version: 1, Dir: b.TempDir()})
	from := influxtest.Open(b, influxtest.Access(db, "pingline"))
	midnight := store.Day(time.Now().UnixMilli()) * 24 * 60 * 60 * 1000
	convoy := storetest.NewConvoy(riders, midnight-24*60*60*1000+3_600_000, 5_000)
	for range points / 10_000 {
		if err := from.Write(b.Context(), store.Rows{Bytes: convoy.Fill(nil, 10_000, influx.AppendLine), N: 10_000}); err != nil {
			b.Fatal(err)
		}
	}
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		other := influxd.Run(b, influxd.Config{Version: 1, Dir: b.TempDir()})
		to := influxtest.Open(b, influxtest.Access(other, "pingline"))
		c, err := copying.New(copying.Config{From: from, To: []copying.Target{{Store: to}}, Whole: true, Refused: none(b)})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		began := time.Now()
		plan, err := c.Plan(b.Context(), math.MinInt64, math.MaxInt64)
		listed := time.Since(began)
		if err == nil {
			began = time.Now()
			err = c.Copy(b.Context(), plan)
		}
		if err != nil {
			b.Fatal(err)
		}
		copied := time.Since(began)
		began = time.Now()
		differ, err := c.Verify(b.Context(), plan, 1, false, func(d *copying.Difference) { b.Error(d) })
		if err != nil || differ != 0 {
			b.Fatalf("%d differences, %v", differ, err)
		}
		b.ReportMetric(float64(c.Status().Rows)/copied.Seconds(), "copied/s")
		b.ReportMetric(float64(c.Status().Rows)/time.Since(began).Seconds(), "compared/s")
		b.ReportMetric(listed.Seconds()*1e3, "ms-to-list")
		b.ReportMetric(0, "ns/op")
		if n == 0 {
			b.Logf("%+v", c.Status())
		}
	}
}
