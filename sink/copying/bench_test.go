package copying_test

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
// into another, and compares them. All run on one machine: points/s is what they do together. The
// CPU time of the copier and of both InfluxDBs for a point hardly depends on who else is there.
// With -short it is a fifth of that.
func BenchmarkCopy(b *testing.B) {
	const riders = 20_000
	points := 1_000_000
	if testing.Short() {
		points /= 5
	}
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
		began, before := time.Now(), cpu()
		plan, err := c.Plan(b.Context(), math.MinInt64, math.MaxInt64)
		listed := time.Since(began)
		if err == nil {
			began, before = time.Now(), cpu()
			err = c.Copy(b.Context(), plan)
		}
		if err != nil {
			b.Fatal(err)
		}
		copied, after := time.Since(began), cpu()
		began = time.Now()
		differ, err := c.Verify(b.Context(), plan, 1, false, func(d *copying.Difference) { b.Error(d) })
		if err != nil || differ != 0 {
			b.Fatalf("%d differences, %v", differ, err)
		}
		b.ReportMetric(float64(c.Status().Rows)/copied.Seconds(), "copied/s")
		b.ReportMetric(float64(c.Status().Rows)/time.Since(began).Seconds(), "compared/s")
		for i, name := range []string{"CPU-µs/copied", "InfluxDBs-µs/copied"} {
			b.ReportMetric((after[i]-before[i])*1e6/float64(points), name)
		}
		b.ReportMetric((cpu()[0]-after[0])*1e6/float64(points), "CPU-µs/compared")
		b.ReportMetric(listed.Seconds()*1e3, "ms-to-list")
		b.ReportMetric(0, "ns/op")
		if n == 0 {
			b.Logf("%+v", c.Status())
		}
	}
}

// cpu returns the CPU time of this process and of its children, s; zero where there is no /proc.
func cpu() (s [2]float64) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name
		f := strings.Fields(rest)
		if len(f) < 13 {
			continue
		}
		const ticks = 100 // a second
		user, _ := strconv.ParseFloat(f[11], 64)
		kernel, _ := strconv.ParseFloat(f[12], 64)
		switch own := strconv.Itoa(os.Getpid()); {
		case name == "/proc/"+own+"/stat":
			s[0] += (user + kernel) / ticks
		case f[1] == own:
			s[1] += (user + kernel) / ticks
		}
	}
	return s
}
