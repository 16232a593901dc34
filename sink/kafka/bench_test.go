package kafka_test

import (
	"context"
	"fmt"
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

// BenchmarkWrite compares writes of 5,000 rows, one after the other, as a lane makes them, with
// a plain producer of franz-go that is given the same messages, 5,000 at a time and then without
// waiting. Where there are no jars of Kafka, the brokers are fakes in this process.
func BenchmarkWrite(b *testing.B) {
	var seeds []string
	if c := brokers(b); c != nil {
		seeds = c.Seeds
	} else {
		seeds = fake(b, kfake.NumBrokers(1)).ListenAddrs()
	}
	const lines, batches = 5000, 20
	convoy := storetest.NewConvoy(50_000, storetest.AnHourAgo(), 1000)
	list := make([]pingline.Entry, lines*batches)
	for i := range list {
		list[i] = *convoy.Next()
	}
	ctx := context.Background()
	topic := 0
	url := func() (string, string) {
		topic++
		name := fmt.Sprintf("bench-%d", topic)
		return "kafka://" + strings.Join(seeds, ",") + "/" + name + "?compression=snappy", name
	}
	rate := func(b *testing.B) {
		b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "rows/s")
	}
	warm := storetest.Fleet(1, 1)
	b.Run("pingline", func(b *testing.B) {
		u, _ := url()
		to := open(b, kafka.Config{URL: u, CreateTopics: true})
		var rows []store.Rows
		for i := range batches {
			rows = append(rows, rowsOf(to, list[i*lines:][:lines]))
		}
		if err := to.Write(ctx, rowsOf(to, warm)); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			for _, r := range rows {
				if err := to.Write(ctx, r); err != nil {
					b.Fatal(err)
				}
			}
		}
		rate(b)
	})
	for name, at := range map[string]int{"plain producer, 5000 at a time": lines, "plain producer, without waiting": lines * batches} {
		b.Run(name, func(b *testing.B) {
			_, name := url()
			cl := kafkatest.Client(b, kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(name), kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.MaxBufferedRecords(1<<20), kgo.UnknownTopicRetries(1000))
			if _, err := kadm.NewClient(cl).CreateTopic(ctx, -1, -1, nil, name); err != nil {
				b.Fatal(err)
			}
			records := messages(b, list)
			if err := cl.ProduceSync(ctx, &kgo.Record{Value: records[0].Value}).FirstErr(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for i := 0; i < len(list); i += at {
					again := make([]*kgo.Record, at)
					for j := range again {
						r := *records[i+j]
						again[j] = &kgo.Record{Key: r.Key, Value: r.Value, Headers: r.Headers}
					}
					if err := cl.ProduceSync(ctx, again...).FirstErr(); err != nil {
						b.Fatal(err)
					}
				}
			}
			rate(b)
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

// messages are those that Topics make of entries.
func messages(b *testing.B, list []pingline.Entry) []*kgo.Record {
	b.Helper()
	c := fake(b)
	cl := kafkatest.Client(b, kgo.SeedBrokers(c.ListenAddrs()...))
	to := open(b, kafka.Config{URL: "kafka://" + strings.Join(c.ListenAddrs(), ",") + "/m", CreateTopics: true})
	if err := to.Write(context.Background(), rowsOf(to, list)); err != nil {
		b.Fatal(err)
	}
	all, err := kafkatest.Read(context.Background(), cl, "m")
	if err != nil || len(all) != len(list) {
		b.Fatal(len(all), err)
	}
	return all
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
