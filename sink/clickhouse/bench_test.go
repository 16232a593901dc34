package clickhouse_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// loaded is how many rows a round of a benchmark writes.
const loaded = 300_000

// batches encodes rows of a convoy of 50,000 riders, in batches.
func batches(to *clickhouse.Tables, size int) (list []store.Rows) {
	c := storetest.NewConvoy(50_000, storetest.AnHourAgo(), 5000)
	for n := 0; n < loaded; n += size {
		list = append(list, store.Rows{Bytes: c.Fill(nil, size, to.AppendRow), N: size})
	}
	return list
}

// load writes batches, three at once, as the lanes of a shard do.
func load(b *testing.B, to *clickhouse.Tables, list []store.Rows) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				if err := to.Write(b.Context(), list[i]); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The writer, by rows of a write. To be compared with BenchmarkClickHouseClient.
func BenchmarkWriteClickHouse(b *testing.B) {
	for _, size := range []int{5000, 20_000, 100_000} {
		for _, compress := range []bool{false, true} {
			b.Run(fmt.Sprintf("rows=%d/compress=%v", size, compress), func(b *testing.B) {
				s := clickhousetest.Run(b)
				cfg := config(s, "pingline")
				cfg.Compress = compress
				to := open(b, cfg)
				list := batches(to, size)
				if err := to.Write(b.Context(), store.Rows{}); err != nil {
					b.Fatal(err)
				}
				before := s.CPU()
				for b.Loop() {
					load(b, to, list)
				}
				report(b, s, before)
			})
		}
	}
}

const columns = "rider, device, ts, nano, cell, late, corrected, lat_e7, lon_e7, event, trip, skipped, speed, heading, accuracy, altitude, battery, version"

// ClickHouse's own client inserts the same rows from a file in its native form: in the
// blocks that it makes of it, or in blocks of 5,000 rows, by three processes at once.
func BenchmarkClickHouseClient(b *testing.B) {
	client, err := exec.LookPath("clickhouse-client")
	if err != nil {
		b.Skip("no clickhouse-client is here: apt-get install clickhouse-client")
	}
	for _, size := range []int{5000, loaded / 3} {
		b.Run(fmt.Sprintf("rows=%d", size), func(b *testing.B) {
			s := clickhousetest.Run(b)
			to := open(b, config(s, "pingline"))
			load(b, to, batches(to, loaded/3))
			var files []string
			for i := range 3 {
				files = append(files, filepath.Join(b.TempDir(), "rows"))
				native, err := exec.Command(client, "--port="+strconv.Itoa(s.Native), "--user="+clickhousetest.User, "--password="+clickhousetest.Password,
					fmt.Sprintf("--max_block_size=%d", size), "--query=SELECT "+columns+" FROM pingline.pings WHERE cityHash64(rider) % 3 = "+strconv.Itoa(i)+" ORDER BY ts FORMAT Native").Output()
				if err != nil {
					b.Fatal(err)
				}
				if err := os.WriteFile(files[i], native, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			s.Execute(b, "TRUNCATE TABLE pingline.pings")
			before := s.CPU()
			for b.Loop() {
				var wg sync.WaitGroup
				for _, file := range files {
					wg.Go(func() {
						cmd := exec.Command(client, "--port="+strconv.Itoa(s.Native), "--user="+clickhousetest.User, "--password="+clickhousetest.Password,
							fmt.Sprintf("--max_insert_block_size=%d", size), "--min_insert_block_size_rows=1", "--min_insert_block_size_bytes=1",
							"--query=INSERT INTO pingline.pings ("+columns+") FORMAT Native")
						in, err := os.Open(file)
						if err != nil {
							b.Error(err)
							return
						}
						defer func() { _ = in.Close() }()
						cmd.Stdin = in
						if out, err := cmd.CombinedOutput(); err != nil {
							b.Errorf("%v: %s", err, out)
						}
					})
				}
				wg.Wait()
			}
			report(b, s, before)
		})
	}
}

// report reports how fast rows went in, and how long the server has worked on each, merges
// included. The time of the server hardly depends on who else uses the machine.
func report(b *testing.B, s *clickhousetest.Server, before time.Duration) {
	rows := float64(b.N) * loaded
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((s.CPU()-before).Seconds()*1e6/rows, "CPU-µs/row")
	if n, err := strconv.Atoi(s.Execute(b, "SELECT count() FROM pingline.pings FINAL")); err != nil || n != loaded {
		b.Errorf("%d rows, %v", n, err)
	}
}
