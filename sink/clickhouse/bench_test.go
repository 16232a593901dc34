package clickhouse_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/sink/clickhouse"
	"pingline/sink/clickhouse/clickhousetest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// loaded is how many rows a round of a benchmark writes.
const loaded = 300_000

// batches encodes rows of a convoy of 50,000 riders, in batches; dressed ones have four
// attributes each.
func batches(to *clickhouse.Tables, size int, dressed bool) (list []store.Rows) {
	c := storetest.NewConvoy(50_000, storetest.AnHourAgo(), 5000)
	if dressed {
		c.Dress()
	}
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

// The writer, by rows of a write. BenchmarkClickHouseLoader has the same beside it.
func BenchmarkWriteClickHouse(b *testing.B) {
	for _, size := range []int{5000, 20_000, 100_000} {
		for _, how := range []string{"plain", "compress", "attrs"} {
			b.Run(fmt.Sprintf("rows=%d/%s", size, how), func(b *testing.B) {
				s := clickhousetest.Run(b)
				cfg := config(s, "pingline")
				cfg.Compress = how == "compress"
				to := open(b, cfg)
				list := batches(to, size, how == "attrs")
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

// BenchmarkClickHouseLoader has ClickHouse's own client insert the same rows, three processes at
// once, from files in ClickHouse's native form, in blocks of as many rows as a write has.
func BenchmarkClickHouseLoader(b *testing.B) {
	client, err := exec.LookPath("clickhouse-client")
	if err != nil {
		b.Skip("no clickhouse-client is here: apt-get install clickhouse-client")
	}
	for _, size := range []int{5000, loaded / 3} {
		b.Run(fmt.Sprintf("ClickHouse, %d rows a write/clickhouse-client, three at once", size), func(b *testing.B) {
			s := clickhousetest.Run(b)
			to, copies := open(b, config(s, "pingline")), open(b, config(s, "loaded"))
			for _, of := range []*clickhouse.Tables{to, copies} {
				if err := of.Write(b.Context(), store.Rows{}); err != nil { // makes the tables
					b.Fatal(err)
				}
			}
			run := func(in *os.File, args ...string) ([]byte, error) {
				cmd := exec.Command(client, append(args, "--port="+strconv.Itoa(s.Native), "--user="+clickhousetest.User, "--password="+clickhousetest.Password)...)
				if in != nil {
					cmd.Stdin = in
				}
				out, err := cmd.Output()
				if exit := new(exec.ExitError); errors.As(err, &exit) {
					err = fmt.Errorf("%w: %s", err, exit.Stderr)
				}
				return out, err
			}
			writer := func(list []pingline.Entry) func() error {
				var parts []store.Rows
				for part := range slices.Chunk(list, size) {
					parts = append(parts, store.Rows{N: len(part), Bytes: encoded(to, part)})
				}
				return func() error { load(b, to, parts); return nil }
			}
			// The client's files are made of what the writer wrote of the same pings.
			loader := func(list []pingline.Entry) func() error {
				s.Execute(b, "TRUNCATE TABLE loaded.pings")
				load(b, copies, []store.Rows{{N: len(list), Bytes: encoded(copies, list)}})
				var files []string
				for i := range 3 {
					native, err := run(nil, fmt.Sprintf("--max_block_size=%d", size), "--query=SELECT "+columns+" FROM loaded.pings WHERE cityHash64(rider) % 3 = "+strconv.Itoa(i)+" ORDER BY ts FORMAT Native")
					if err != nil {
						b.Fatal(err)
					}
					files = append(files, filepath.Join(b.TempDir(), "rows"))
					if err := os.WriteFile(files[i], native, 0o600); err != nil {
						b.Fatal(err)
					}
				}
				s.Execute(b, "TRUNCATE TABLE loaded.pings")
				return func() error {
					var all errgroup.Group
					for _, file := range files {
						all.Go(func() error {
							in, err := os.Open(file)
							if err != nil {
								return err
							}
							defer func() { _ = in.Close() }()
							_, err = run(in, fmt.Sprintf("--max_insert_block_size=%d", size), "--min_insert_block_size_rows=1", "--min_insert_block_size_bytes=1",
								"--query=INSERT INTO loaded.pings ("+columns+") FORMAT Native")
							return err
						})
					}
					return all.Wait()
				}
			}
			storetest.Race(b, storetest.NewConvoy(50_000, storetest.AnHourAgo(), 5000), loaded, writer, loader)
		})
	}
}

func encoded(to *clickhouse.Tables, list []pingline.Entry) (rows []byte) {
	for i := range list {
		rows = to.AppendRow(rows, &list[i])
	}
	return rows
}

const columns = "rider, device, ts, nano, cell, late, corrected, lat_e7, lon_e7, event, trip, skipped, speed, heading, accuracy, altitude, battery, attrs, version"

// report reports how fast rows went in, and how long the server has worked on each, merges
// included. The time of the server hardly depends on who else uses the machine.
func report(b *testing.B, s *clickhousetest.Server, before time.Duration) {
	rows := float64(b.N) * loaded
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric((s.CPU()-before).Seconds()*1e6/rows, "CPU-µs/row")
	if bytes, err := strconv.Atoi(s.Execute(b, "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'pings'")); err == nil {
		b.ReportMetric(float64(bytes)/loaded, "B/row")
	}
	if n, err := strconv.Atoi(s.Execute(b, "SELECT count() FROM pingline.pings FINAL")); err != nil || n != loaded {
		b.Errorf("%d rows, %v", n, err)
	}
}
