package influx_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/internal/influxd"
	"pingline/sink/influx"
	"pingline/sink/influx/influxtest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// rig is a real InfluxDB under the load of a shard's lanes, for benchmarks. Both
// run on one machine, and others may use it too: points/s is what the two can do
// together at that time. CPU-µs/point is what InfluxDB alone has worked, in the
// background included, and hardly depends on who else is there; compare by it.
type rig struct {
	tb     testing.TB
	dir    string
	server *influxd.Server
	influx *influx.Bucket
}

// writers is how many writes a shard gets at once: one of each of its lanes.
const writers = 3

// filler appends so many lines to dst.
type filler func(dst []byte, lines int) []byte

// newRig runs an InfluxDB, its files in a directory of its own, unless cfg says
// otherwise.
func newRig(b *testing.B, cfg influxd.Config) *rig {
	if testing.Short() {
		b.Skip("a loaded InfluxDB takes long")
	}
	r := &rig{tb: b, dir: b.TempDir()}
	cfg.Dir = r.dir
	if cfg.Version == 2 {
		cfg.Org, cfg.Token = "o", "t"
	}
	r.server = influxd.Run(b, cfg)
	r.influx = influxtest.Open(b, influx.Config{URL: r.server.URL(), Org: cfg.Org, Token: cfg.Token})
	return r
}

// load writes rounds of that many points, or a few less, until b has had enough,
// and reports.
func (r *rig) load(b *testing.B, points, lines int, fill filler) {
	r.measure(b, func() (total int) {
		for b.Loop() {
			r.write(points, lines, fill)
			total += points / lines * lines
		}
		return total
	})
}

// measure reports what it takes to write the points that do writes.
func (r *rig) measure(b *testing.B, do func() (points int)) {
	before, began := r.usage(), time.Now()
	points := float64(do())
	seconds, after := time.Since(began).Seconds(), r.usage()
	b.ReportMetric(points/seconds, "points/s")
	b.ReportMetric((after.cpu-before.cpu)*1e6/points, "CPU-µs/point")
	b.ReportMetric(after.memory/(1<<20), "MiB")
	b.ReportMetric(0, "ns/op") // a round's says nothing
}

// write writes that many points, or a few less.
func (r *rig) write(points, lines int, fill filler) {
	var (
		wg      sync.WaitGroup
		filling sync.Mutex
		left    atomic.Int64
	)
	left.Store(int64(points / lines))
	for range writers {
		wg.Go(func() {
			var batch []byte
			for left.Add(-1) >= 0 {
				filling.Lock()
				batch = fill(batch[:0], lines)
				filling.Unlock()
				if err := r.persist(batch); err != nil {
					r.tb.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// persist writes a batch until InfluxDB has it: one that makes many new series can
// take longer than it allows itself.
func (r *rig) persist(batch []byte) error {
	for {
		err := r.influx.Write(context.Background(), influxtest.Rows(string(batch)))
		if refusal := new(store.Refusal); !errors.As(err, &refusal) || refusal.Kind != store.Retry {
			return err
		}
	}
}

// restart kills InfluxDB, and reports how long it takes to answer queries again.
func (r *rig) restart(b *testing.B) {
	began := time.Now()
	if err := r.server.Restart(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "restart-s")
	b.ReportMetric(r.usage().memory/(1<<20), "restarted-MiB")
}

// usage is what InfluxDB's process takes; zero where there is no /proc.
type usage struct {
	cpu    float64 // seconds
	memory float64 // bytes, resident: the files it has mapped are among them
}

func (r *rig) usage() (u usage) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name
		f := strings.Fields(rest)
		if len(f) < 22 || f[1] != strconv.Itoa(os.Getpid()) {
			continue // not our child
		}
		const ticks = 100 // a second
		u.cpu += (number(f[11]) + number(f[12])) / ticks
		u.memory += number(f[21]) * float64(os.Getpagesize())
	}
	return u
}

// files returns the number and the size of InfluxDB's files whose path has part
// in it.
func (r *rig) files(part string) (n int, bytes int64) {
	_ = filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, gone error) error {
		if gone == nil && d.Type().IsRegular() && strings.Contains(path, part) {
			if info, err := d.Info(); err == nil {
				n, bytes = n+1, bytes+info.Size()
			}
		}
		return nil // files come and go
	})
	return n, bytes
}

// number returns 0 for a text that is not one.
func number(text string) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return n
}

// lineFiller fills batches with the pings of a convoy.
func lineFiller(c *storetest.Convoy) filler {
	return func(dst []byte, lines int) []byte { return c.Fill(dst, lines, influx.AppendLine) }
}
