package influx_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store/storetest"
)

// BenchmarkInfluxWrite is how many points a second one InfluxDB takes, by batch
// size and number of series, once the series are there. A million of them, which
// takes minutes and 6 GiB, is for PINGLINE_BENCH_SERIES=1000000.
func BenchmarkInfluxWrite(b *testing.B) {
	counts := []int{1000, 100_000}
	if text := os.Getenv("PINGLINE_BENCH_SERIES"); text != "" {
		counts = []int{int(number(text))}
	}
	for _, version := range []int{1, 2} {
		for _, series := range counts {
			b.Run(fmt.Sprintf("v%d/%d series", version, series), func(b *testing.B) {
				r := newRig(b, influxd.Config{Version: version, Env: tuned(version, series)})
				c := storetest.NewConvoy(series, storetest.AnHourAgo(), 10_000)
				r.write(max(series, 5000), 5000, lineFiller(c))
				for _, lines := range []int{1, 100, 1000, 5000} {
					b.Run(fmt.Sprintf("%d lines", lines), func(b *testing.B) {
						r.load(b, min(2000*lines, 200_000), lines, lineFiller(c))
					})
				}
			})
		}
	}
}

// tuned are the settings for that many series.
func tuned(version, series int) []string {
	snapshot := max(25<<20, series*2560)
	if version == 2 {
		return []string{
			fmt.Sprintf("INFLUXD_STORAGE_CACHE_SNAPSHOT_MEMORY_SIZE=%d", snapshot),
			fmt.Sprintf("INFLUXD_STORAGE_CACHE_MAX_MEMORY_SIZE=%d", 8*snapshot),
		}
	}
	return []string{
		"INFLUXDB_DATA_INDEX_VERSION=tsi1",
		fmt.Sprintf("INFLUXDB_DATA_CACHE_SNAPSHOT_MEMORY_SIZE=%d", snapshot),
		fmt.Sprintf("INFLUXDB_DATA_CACHE_MAX_MEMORY_SIZE=%d", 8*snapshot),
	}
}

// cold makes InfluxDB compact what it has as soon as nothing comes in.
func cold(version int) []string {
	if version == 2 {
		return []string{"INFLUXD_STORAGE_CACHE_SNAPSHOT_WRITE_COLD_DURATION=1s", "INFLUXD_STORAGE_COMPACT_FULL_WRITE_COLD_DURATION=1s"}
	}
	return []string{"INFLUXDB_DATA_INDEX_VERSION=tsi1",
		"INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION=1s", "INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION=1s"}
}

// BenchmarkInfluxDisk is what points take on disk once InfluxDB has compacted
// them, and series in its index, by how many points of a series a shard group
// has.
func BenchmarkInfluxDisk(b *testing.B) {
	for _, version := range []int{1, 2} {
		for _, shape := range []struct{ series, points int }{{1000, 1000}, {10_000, 100}, {50_000, 20}} {
			b.Run(fmt.Sprintf("v%d/%d series of %d points", version, shape.series, shape.points), func(b *testing.B) {
				r := newRig(b, influxd.Config{Version: version, Env: cold(version)})
				c := storetest.NewConvoy(shape.series, storetest.AnHourAgo(), 10_000)
				points := shape.series * shape.points
				for b.Loop() {
					r.write(points, 5000, lineFiller(c))
				}
				influxtest.Eventually(b, "all is compacted", func() bool {
					time.Sleep(time.Second / 4)
					n, _ := r.files(".tsm")
					_, wal := r.files(".wal")
					return n == 1 && wal < 1000
				})
				_, data := r.files(".tsm")
				_, index := r.files("/index/")
				n := float64(b.N)
				b.ReportMetric(float64(data)/n/float64(points), "B/point")
				b.ReportMetric(float64(index)/float64(shape.series), "index-B/series")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
