package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"pingline"
	"pingline/sink/postgres"
	"pingline/sink/postgres/postgrestest"
	"pingline/sink/store/storetest"
)

// BenchmarkWrite compares a write with the plain COPY of the same rows by the client library,
// into the same tables, and tells what the settings of durability are worth. A round is
// 100,000 new rows in batches of 5,000, by one writer.
func BenchmarkWrite(b *testing.B) {
	for name, settings := range map[string][]string{
		"default":                {"fsync=on"},
		"synchronous_commit=off": {"fsync=on", "synchronous_commit=off"},
		"commit_delay=2ms":       {"fsync=on", "commit_delay=2000", "commit_siblings=1"},
	} {
		b.Run(name, func(b *testing.B) {
			server := postgrestest.Run(b, append(settings, "max_wal_size=4GB", "wal_level=replica", "shared_buffers=512MB")...)
			b.Run("plain COPY", func(b *testing.B) { rounds(b, server, plain(b, server)) })
			for _, staged := range []bool{false, true} {
				cfg, _ := fresh(b, server)
				d := open(b, cfg)
				again := storetest.Fleet(9, 1)
				b.Run(map[bool]string{false: "new rows", true: "by the temporary table"}[staged], func(b *testing.B) {
					n := 0
					rounds(b, server, func(list []pingline.Entry) error {
						if staged && n%50 == 0 { // rows that come again, so that it is used for the next 64 writes
							if err := d.Write(context.Background(), storeRows(d, again[0], again[0])); err != nil {
								return err
							}
						}
						n++
						return d.Write(context.Background(), storeRows(d, list...))
					})
				})
			}
			cfg, _ := fresh(b, server)
			d := open(b, cfg)
			b.Run("the same rows again", func(b *testing.B) {
				list := convoy().List(5000)
				written(b, d, list...)
				for b.Loop() {
					for range 20 {
						written(b, d, list...)
					}
				}
				b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "rows/s")
			})
		})
	}
}

func convoy() *storetest.Convoy { return storetest.NewConvoy(10_000, storetest.Recently, 5000) }

// BenchmarkPostgresLoader is the writer beside plain COPY, 5,000 rows each, into a database of
// its own on a server with the settings that it is installed with.
func BenchmarkPostgresLoader(b *testing.B) {
	server := postgrestest.Run(b, "fsync=on", "shared_buffers=128MB", "wal_level=replica")
	b.Run("PostgreSQL/COPY by pgx", func(b *testing.B) {
		cfg, _ := fresh(b, server)
		d := open(b, cfg)
		written(b, d) // makes the tables
		copies := plain(b, server)
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
		storetest.Race(b, convoy(), 100_000,
			each(func(list []pingline.Entry) error { return d.Write(context.Background(), storeRows(d, list...)) }), each(copies))
	})
}

func rounds(b *testing.B, _ *postgrestest.Server, write func([]pingline.Entry) error) {
	r := convoy()
	for b.Loop() {
		for range 20 {
			b.StopTimer()
			list := r.List(5000)
			b.StartTimer()
			if err := write(list); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*100_000/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(0, "ns/op")
}

// plain returns a writer that copies rows as a client of pgx would.
func plain(b *testing.B, server *postgrestest.Server) func([]pingline.Entry) error {
	cfg, name := fresh(b, server)
	written(b, open(b, cfg)) // makes the tables
	u := fmt.Sprintf("%s?password=%s", server.URL(name), postgrestest.Password)
	conn, err := pgx.Connect(context.Background(), u)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.Background()) })
	today := storetest.Fleet(1, 1)
	written(b, open(b, cfg), today...) // and the day
	columns := []string{"rider", "ts", "nano", "device", "cell", "late", "corrected", "lat", "lon", "speed", "heading", "accuracy", "altitude", "battery", "event", "trip", "skipped"}
	return func(list []pingline.Entry) error {
		_, err := conn.CopyFrom(context.Background(), pgx.Identifier{postgres.Pings}, columns, pgx.CopyFromSlice(len(list), func(i int) ([]any, error) {
			e := &list[i]
			row := []any{e.Rider, e.Time(), int32(e.Nano()), e.Device, int64(e.Cell), e.Late, e.Corrected, e.Lat(), e.Lon()}
			for k, v := range e.Numbers() {
				if e.Known&(1<<k) == 0 {
					row = append(row, nil)
					continue
				}
				row = append(row, v)
			}
			for _, s := range []string{e.Event, e.Trip} {
				if s == "" {
					row = append(row, nil)
					continue
				}
				row = append(row, s)
			}
			return append(row, int64(e.Skipped)), nil
		}))
		return err
	}
}
