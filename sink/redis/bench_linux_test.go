package redis_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"pingline"
	"pingline/sink/redis"
	"pingline/sink/redis/redistest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkWrite compares a write with a plain pipelined loop over the same script and the
// same rows, by the client library: round by round in turn, at the same server. A round is
// 20,000 rows of 50,000 riders in batches of 5,000, by one writer.
func BenchmarkWrite(b *testing.B) {
	for _, fsync := range []string{"always", "everysec", "no"} {
		b.Run("appendfsync="+fsync, func(b *testing.B) {
			server := redistest.Run(b, "--appendfsync", fsync)
			c := server.Client()
			b.Cleanup(func() { _ = c.Close() })
			sha, err := c.ScriptLoad(context.Background(), redis.Newer).Result()
			if err != nil {
				b.Fatal(err)
			}
			cfg := config(server)
			cfg.Prefix = "written"
			ways := []*way{
				{name: "plain", write: func(list []pingline.Entry) error { return plain(c, sha, list) }},
				{name: "write", write: writing(open(b, cfg))},
			}
			for b.Loop() {
				for _, w := range ways {
					w.round(b, server, 50_000)
				}
			}
			for _, w := range ways {
				w.report(b)
			}
			b.ReportMetric(ways[0].took.Seconds()/ways[1].took.Seconds(), "write/plain")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRedisLoader is the writer beside the loop of BenchmarkWrite.
func BenchmarkRedisLoader(b *testing.B) {
	for _, fsync := range []string{"always", "everysec"} {
		b.Run("Redis, appendfsync "+fsync+"/pipeline of go-redis", func(b *testing.B) {
			server := redistest.Run(b, "--appendfsync", fsync)
			c := server.Client()
			b.Cleanup(func() { _ = c.Close() })
			sha, err := c.ScriptLoad(context.Background(), redis.Newer).Result()
			if err != nil {
				b.Fatal(err)
			}
			cfg := config(server)
			cfg.Prefix = "written"
			each := func(write func([]pingline.Entry) error) func([]pingline.Entry) func() error {
				return func(list []pingline.Entry) func() error {
					return func() error {
						for part := range slices.Chunk(list, 5000) {
							if err := write(part); err != nil {
								return err
							}
						}
						return nil
					}
				}
			}
			storetest.Race(b, storetest.NewConvoy(50_000, storetest.AnHourAgo(), 5000), 20_000,
				each(writing(open(b, cfg))), each(func(list []pingline.Entry) error { return plain(c, sha, list) }))
		})
	}
}

// BenchmarkSettings tells what settings cost, and what pings of the same riders save.
func BenchmarkSettings(b *testing.B) {
	for _, tt := range []struct {
		name   string
		riders int
		set    func(*redis.Config)
	}{
		{"as it is", 50_000, func(*redis.Config) {}},
		{"expire=24h", 50_000, func(c *redis.Config) { c.Expire = 24 * time.Hour }},
		{"changes=publish", 50_000, func(c *redis.Config) { c.Changes = "publish" }},
		{"changes=stream", 50_000, func(c *redis.Config) { c.Changes = "stream" }},
		{"ten pings of a rider in a batch", 500, func(*redis.Config) {}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			server := redistest.Run(b, "--appendfsync", "everysec")
			cfg := config(server)
			tt.set(&cfg)
			w := &way{name: "write", write: writing(open(b, cfg))}
			for b.Loop() {
				w.round(b, server, tt.riders)
			}
			w.report(b)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// way is a way to write, and what it took.
type way struct {
	name  string
	write func([]pingline.Entry) error

	ride         *storetest.Convoy
	list         []pingline.Entry
	rows         int
	took         time.Duration
	ours, theirs float64 // s of CPU, of this process and of the server
}

func (w *way) round(b *testing.B, server *redistest.Server, riders int) {
	if w.ride == nil {
		w.ride, w.list = storetest.NewConvoy(riders, storetest.AnHourAgo(), 5000), make([]pingline.Entry, 5000)
	}
	for range 4 {
		for i := range w.list {
			w.list[i] = *w.ride.Next()
		}
		ours, theirs, began := ownCPU(b), serverCPU(b, server), time.Now()
		if err := w.write(w.list); err != nil {
			b.Fatal(err)
		}
		w.took += time.Since(began)
		w.ours += ownCPU(b) - ours
		w.theirs += serverCPU(b, server) - theirs
		w.rows += len(w.list)
	}
}

func (w *way) report(b *testing.B) {
	b.ReportMetric(float64(w.rows)/w.took.Seconds(), w.name+"-rows/s")
	b.ReportMetric(w.ours/float64(w.rows)*1e6, w.name+"-own-CPU-µs/row")
	b.ReportMetric(w.theirs/float64(w.rows)*1e6, w.name+"-server-CPU-µs/row")
}

func ownCPU(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func serverCPU(b *testing.B, server *redistest.Server) (sum float64) {
	info, _ := server.Do(b, "INFO cpu").(string)
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if key == "used_cpu_user" || key == "used_cpu_sys" {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}

func writing(p *redis.Whereabouts) func([]pingline.Entry) error {
	var r store.Rows
	return func(list []pingline.Entry) error {
		r.Bytes, r.N = r.Bytes[:0], len(list)
		for i := range list {
			r.Bytes = p.AppendRow(r.Bytes, &list[i])
		}
		return p.Write(context.Background(), r)
	}
}

// plain writes entries as a user of the client library would who has the script.
func plain(c *goredis.Client, sha string, list []pingline.Entry) error {
	ctx := context.Background()
	pipe := c.Pipeline()
	for i := range list {
		e := &list[i]
		fields := []any{
			strconv.FormatInt(e.At, 10), "0", "none", "", "", e.Rider, "1",
			"ts", e.At, "lat", e.Lat(), "lon", e.Lon(),
			"speed", e.Speed, "heading", e.Heading, "accuracy", e.Accuracy, "cell", strconv.FormatUint(e.Cell, 16),
		}
		if e.Skipped > 0 {
			fields = append(fields, "skipped", e.Skipped)
		}
		pipe.EvalSha(ctx, sha, []string{"{pingline}:rider:" + e.Rider, "{pingline}:geo", "{pingline}:seen"}, fields...)
	}
	_, err := pipe.Exec(ctx)
	return err
}
