package kafka_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"pingline"
	"pingline/internal/jvm"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/sink/kafka"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkKafkaLoader compares writes with a plain producer of franz-go that is given the same
// messages, as many at a time or all without waiting. A lane has one write on its way, so that one
// lane is a single goroutine here. A shard has up to five lanes that write at once: two are busy when
// pings have waited for it, the live lane and the lane that fills in the stretch left out. Where there
// are no jars of Kafka, the brokers are fakes in this process.
func BenchmarkKafkaLoader(b *testing.B) {
	var seeds []string
	if c := brokers(b); c != nil {
		seeds = c.Seeds
	} else {
		seeds = fake(b, kfake.NumBrokers(1)).ListenAddrs()
	}
	const round = 100_000
	for i, of := range []struct {
		lanes, lines, at int
		name             string
	}{
		{1, 5000, 5000, "5000 rows a write/producer of franz-go, as many at a time"},
		{1, 5000, round, "5000 rows a write/producer of franz-go, without waiting"},
		{2, 5000, round, "5000 rows a write, two lanes/producer of franz-go, without waiting"},
		{1, 20_000, round, "20000 rows a write/producer of franz-go, without waiting"},
		{2, 20_000, round, "20000 rows a write, two lanes/producer of franz-go, without waiting"},
	} {
		b.Run("Kafka, "+of.name, func(b *testing.B) {
			to := open(b, kafka.Config{URL: fmt.Sprintf("kafka://%s/written-%d?compression=snappy", strings.Join(seeds, ","), i), CreateTopics: true})
			if err := to.Write(b.Context(), rowsOf(to, storetest.Fleet(1, 1))); err != nil {
				b.Fatal(err)
			}
			topic := fmt.Sprintf("loaded-%d", i)
			cl := kafkatest.Client(b, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.MaxBufferedRecords(1<<20), kgo.UnknownTopicRetries(1000))
			if _, err := kadm.NewClient(cl).CreateTopic(b.Context(), -1, -1, nil, topic); err != nil {
				b.Fatal(err)
			}
			if err := cl.ProduceSync(b.Context(), kgo.StringRecord("first")).FirstErr(); err != nil {
				b.Fatal(err)
			}
			writer := func(list []pingline.Entry) func() error { return lanes(b.Context(), to, list, of.lanes, of.lines) }
			message := messages(b)
			loader := func(list []pingline.Entry) func() error {
				records := message(list)
				return func() error {
					for part := range slices.Chunk(records, of.at) {
						if err := cl.ProduceSync(b.Context(), part...).FirstErr(); err != nil {
							return err
						}
					}
					return nil
				}
			}
			storetest.Race(b, storetest.NewConvoy(50_000, storetest.AnHourAgo(), 1000), round, writer, loader)
		})
	}
}

// lanes returns how so many lanes write a list, each its part of it, in writes of so many lines.
func lanes(ctx context.Context, to *kafka.Topics, list []pingline.Entry, n, lines int) func() error {
	var parts [][]store.Rows
	for part := range slices.Chunk(list, len(list)/n) {
		var rows []store.Rows
		for some := range slices.Chunk(part, lines) {
			rows = append(rows, rowsOf(to, some))
		}
		parts = append(parts, rows)
	}
	return func() error {
		g, ctx := errgroup.WithContext(ctx)
		for _, rows := range parts {
			g.Go(func() error {
				for _, r := range rows {
					if err := to.Write(ctx, r); err != nil {
						return err
					}
				}
				return nil
			})
		}
		return g.Wait()
	}
}

// steadyRate is in the last line of kafka-producer-perf-test.
var steadyRate = regexp.MustCompile(`(?m)^\d+ steady state records sent, ([\d.]+) records/sec`)

// BenchmarkKafkaPerfLoader compares the writes of one lane with kafka-producer-perf-test, Kafka's own
// loader. That gets values of the same kind, no keys and no headers, batches of 256 KiB, which was
// the fastest of three sizes, and as many messages to warm up as count. It waits for no
// acknowledgement before it sends more.
func BenchmarkKafkaPerfLoader(b *testing.B) {
	c := kafkatest.Run(b, 1, false)
	const round = 400_000
	for _, lines := range []int{5000, 20_000} {
		b.Run(fmt.Sprintf("Kafka, %d rows a write/kafka-producer-perf-test", lines), func(b *testing.B) {
			convoy := storetest.NewConvoy(50_000, storetest.AnHourAgo(), 1000)
			to := open(b, kafka.Config{URL: fmt.Sprintf("kafka://%s/written-%d?compression=snappy", c.Seeds[0], lines), CreateTopics: true})
			var values []byte
			for _, m := range messages(b)(convoy.List(50_000)) {
				values = append(append(values, m.Value...), '\n')
			}
			file := filepath.Join(b.TempDir(), "values")
			if err := os.WriteFile(file, values, 0o600); err != nil {
				b.Fatal(err)
			}
			topic := fmt.Sprintf("loaded-%d", lines)
			if _, err := kadm.NewClient(c.Client(b)).CreateTopic(b.Context(), -1, -1, nil, topic); err != nil {
				b.Fatal(err)
			}
			write := func(pings int) (rate float64) {
				timed := lanes(b.Context(), to, convoy.List(pings), 1, lines)
				began := time.Now()
				if err := timed(); err != nil {
					b.Fatal(err)
				}
				return float64(pings) / time.Since(began).Seconds()
			}
			load := func() (rate float64) {
				text := jvm.Run(b, jvm.Java{Jars: "kafka", JVM: []string{"-Xmx512m"}, Main: "org.apache.kafka.tools.ProducerPerformance", Args: []string{
					"--bootstrap-server", c.Seeds[0], "--topic", topic, "--payload-file", file, "--num-records", strconv.Itoa(2 * round), "--warmup-records", strconv.Itoa(round),
					"--throughput", "-1", "--command-property", "acks=all", "enable.idempotence=true", "compression.type=snappy", "batch.size=262144",
				}})
				m := steadyRate.FindStringSubmatch(text)
				if m == nil {
					b.Fatalf("it names no rate:\n%s", text)
				}
				rate, err := strconv.ParseFloat(m[1], 64)
				if err != nil {
					b.Fatal(err)
				}
				return rate
			}
			write(round / 4)
			var best [2]float64
			var ratios []float64
			for b.Loop() {
				one, other := write(round), load()
				best[0], best[1] = max(best[0], one), max(best[1], other)
				ratios = append(ratios, one/other)
			}
			slices.Sort(ratios)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(best[0], "rows/s")
			b.ReportMetric(best[1], "loader-rows/s")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
		})
	}
}

// brokers starts a broker if there are jars of Kafka.
func brokers(b *testing.B) *kafkatest.Cluster {
	b.Helper()
	if !kafkatest.Here() {
		return nil
	}
	return kafkatest.Run(b, 1, false)
}

// messages returns how Topics make messages of entries.
func messages(b *testing.B) func(list []pingline.Entry) []*kgo.Record {
	b.Helper()
	c := fake(b)
	cl := kafkatest.Client(b, kgo.SeedBrokers(c.ListenAddrs()...))
	n := 0
	return func(list []pingline.Entry) (records []*kgo.Record) {
		n++
		topic := fmt.Sprintf("m%d", n)
		to := open(b, kafka.Config{URL: "kafka://" + strings.Join(c.ListenAddrs(), ",") + "/" + topic, CreateTopics: true})
		for part := range slices.Chunk(list, 5000) {
			if err := to.Write(context.Background(), rowsOf(to, part)); err != nil {
				b.Fatal(err)
			}
		}
		all, err := kafkatest.Read(context.Background(), cl, topic)
		if err != nil || len(all) != len(list) {
			b.Fatal(len(all), err)
		}
		for _, r := range all {
			records = append(records, &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
		return records
	}
}

// BenchmarkAppendRow encodes a ping.
func BenchmarkAppendRow(b *testing.B) {
	to := open(b, kafka.Config{URL: "kafka://a/pings"})
	list := storetest.Fleet(1, 1000)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = dst[:0]
		for i := range list {
			dst = to.AppendRow(dst, &list[i])
		}
	}
	b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(len(dst))/float64(len(list)), "B/row")
}
