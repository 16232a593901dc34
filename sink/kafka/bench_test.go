package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/sink/kafka"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkKafkaLoader compares writes, one after the other, as a lane makes them, with a plain
// producer of franz-go that is given the same messages, as many at a time or all without waiting. Where there are no jars of Kafka, the brokers are fakes in this process.
func BenchmarkKafkaLoader(b *testing.B) {
	var seeds []string
	if c := brokers(b); c != nil {
		seeds = c.Seeds
	} else {
		seeds = fake(b, kfake.NumBrokers(1)).ListenAddrs()
	}
	const round = 100_000
	for _, of := range []struct {
		lines, at int
		name      string
	}{{5000, 5000, "producer of franz-go, as many at a time"}, {5000, round, "producer of franz-go, without waiting"}, {20_000, round, "producer of franz-go, without waiting"}} {
		b.Run(fmt.Sprintf("Kafka, %d rows a write/%s", of.lines, of.name), func(b *testing.B) {
			lines, at := of.lines, of.at
			to := open(b, kafka.Config{URL: fmt.Sprintf("kafka://%s/written-%d-%d?compression=snappy", strings.Join(seeds, ","), lines, at), CreateTopics: true})
			if err := to.Write(b.Context(), rowsOf(to, storetest.Fleet(1, 1))); err != nil {
				b.Fatal(err)
			}
			topic := fmt.Sprintf("loaded-%d-%d", lines, at)
			cl := kafkatest.Client(b, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.MaxBufferedRecords(1<<20), kgo.UnknownTopicRetries(1000))
			if _, err := kadm.NewClient(cl).CreateTopic(b.Context(), -1, -1, nil, topic); err != nil {
				b.Fatal(err)
			}
			if err := cl.ProduceSync(b.Context(), kgo.StringRecord("first")).FirstErr(); err != nil {
				b.Fatal(err)
			}
			writer := func(list []pingline.Entry) func() error {
				var rows []store.Rows
				for part := range slices.Chunk(list, lines) {
					rows = append(rows, rowsOf(to, part))
				}
				return func() error {
					for _, r := range rows {
						if err := to.Write(b.Context(), r); err != nil {
							return err
						}
					}
					return nil
				}
			}
			message := messages(b)
			loader := func(list []pingline.Entry) func() error {
				records := message(list)
				return func() error {
					for part := range slices.Chunk(records, at) {
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
