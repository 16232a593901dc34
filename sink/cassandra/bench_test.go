package cassandra_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"pingline"
	"pingline/sink/cassandra"
	"pingline/sink/cassandra/cassandratest"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkWriteCassandra compares writes with a plain loop over the driver that inserts the
// same rows one by one, 64 at once, into the same table of a node with the usual commit log. A round is 20,000 new rows, by two
// writers in batches of 5,000, and then as many by the loop, so that both meet the same
// machine.
func BenchmarkWriteCassandra(b *testing.B) {
	s := cassandratest.Run(b, "commitlog_sync: periodic", "commitlog_sync_period: 10s", "memtable_heap_space: 256MiB")
	for _, riders := range []int{10_000, 100} {
		for _, setting := range []string{"", "batch=1", "batch=10", "batch=1000", "latest=true"} {
			if riders == 10_000 && strings.HasPrefix(setting, "batch") {
				continue // a rider has no two rows in a write
			}
			b.Run(fmt.Sprintf("riders=%d,%s", riders, setting), func(b *testing.B) {
				cfg, ks := fresh(s)
				if n, err := fmt.Sscanf(setting, "batch=%d", &cfg.BatchRows); n == 0 || err != nil {
					cfg.URL += "?" + setting
				}
				k := open(b, cfg)
				mustWrite(b, k)
				loop := plainLoop(b, s, ks)
				convoy := storetest.NewConvoy(riders, storetest.Recently, 5000)
				var ours, plain time.Duration
				for b.Loop() {
					began := time.Now()
					writeAll(b, k, convoy.List(20_000))
					middle := time.Now()
					loop(convoy.List(20_000))
					ours, plain = ours+middle.Sub(began), plain+time.Since(middle)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(20_000*float64(b.N)/ours.Seconds(), "rows/s")
				b.ReportMetric(20_000*float64(b.N)/plain.Seconds(), "rows/s-plain")
				b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
			})
		}
	}
}

// BenchmarkCassandraLoader is the writer beside the loop of BenchmarkWriteCassandra, each in a
// keyspace of its own.
func BenchmarkCassandraLoader(b *testing.B) {
	s := cassandratest.Run(b, "commitlog_sync: periodic", "commitlog_sync_period: 10s", "memtable_heap_space: 256MiB")
	for _, riders := range []int{10_000, 100} {
		b.Run(fmt.Sprintf("Cassandra, %d riders/loop over gocql, 64 at once", riders), func(b *testing.B) {
			cfg, _ := fresh(s)
			k := open(b, cfg)
			mustWrite(b, k)
			other, ks := fresh(s)
			mustWrite(b, open(b, other))
			loop := plainLoop(b, s, ks)
			storetest.Race(b, storetest.NewConvoy(riders, storetest.Recently, 5000), 20_000,
				func(list []pingline.Entry) func() error { return func() error { writeAll(b, k, list); return nil } },
				func(list []pingline.Entry) func() error { return func() error { loop(list); return nil } })
		})
	}
}

func writeAll(b *testing.B, k *cassandra.Keyspace, list []pingline.Entry) {
	const size, writers = 5000, 2
	parts := make(chan []pingline.Entry, len(list)/size)
	for i := 0; i < len(list); i += size {
		parts <- list[i : i+size]
	}
	close(parts)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for part := range parts {
				if err := k.Write(context.Background(), rows(k, part...)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// plainLoop returns a writer that inserts rows as a program with the driver would.
func plainLoop(b *testing.B, s *cassandratest.Server, keyspace string) func([]pingline.Entry) {
	c := gocql.NewCluster(fmt.Sprintf("127.0.0.1:%d", s.Port))
	c.Keyspace, c.Consistency, c.Timeout = keyspace, gocql.LocalQuorum, patience
	c.Authenticator = gocql.PasswordAuthenticator{Username: cassandratest.User, Password: cassandratest.Password}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(gocql.RoundRobinHostPolicy(), gocql.ShuffleReplicas())
	session, err := c.CreateSession()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(session.Close)
	const insert = "INSERT INTO pings (rider, day, ts, nano, device, cell, late, corrected, lat, lon, speed, heading, accuracy, altitude, battery, event, trip, skipped, known)" +
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	return func(list []pingline.Entry) {
		work := make(chan *pingline.Entry)
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for e := range work {
					args := []any{e.Rider, e.Time(), e.Time(), int32(e.Nano()), e.Device, int64(e.Cell), e.Late, e.Corrected, e.Lat(), e.Lon()}
					for i, v := range e.Numbers() {
						if e.Known&(1<<i) == 0 {
							args = append(args, gocql.UnsetValue)
							continue
						}
						args = append(args, v)
					}
					args = append(args, gocql.UnsetValue, gocql.UnsetValue, int32(e.Skipped), int16(e.Known))
					if err := session.Query(insert, args...).Exec(); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for i := range list {
			work <- &list[i]
		}
		close(work)
		wg.Wait()
	}
}

// BenchmarkReadCassandra reads from 200,000 rows of 1,000 riders within some 17 minutes, in the
// memory of the node.
func BenchmarkReadCassandra(b *testing.B) {
	s := cassandratest.Run(b, "commitlog_sync: periodic", "commitlog_sync_period: 10s", "memtable_heap_space: 256MiB")
	cfg, _ := fresh(s)
	k := open(b, cfg)
	mustWrite(b, k)
	convoy := storetest.NewConvoy(1000, storetest.Recently-1_000_000, 5000)
	for range 10 {
		writeAll(b, k, convoy.List(20_000))
	}
	last := convoy.Riders()[0].At
	rider := convoy.Riders()[0].Rider
	for name, q := range map[string]store.Query{
		"a rider":               {From: last - 2*86_400_000, To: last + 1, Rider: rider},
		"newest of a rider":     {From: last - 2*86_400_000, To: last + 1, Rider: rider, Limit: 1, Newest: true},
		"all riders, 5 s":       {From: last - 5000, To: last},
		"all riders, newest of": {From: last - 600_000, To: last, Limit: 1, Newest: true},
	} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = len(selected(b, k, q))
			}
			b.ReportMetric(float64(n), "rows")
		})
	}
}
