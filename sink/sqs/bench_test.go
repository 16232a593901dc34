package sqs

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/internal/elasticmq"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkWrite compares a Write with a plain loop of the SDK over the same messages, ten in a
// batch and as many batches in flight, against an ElasticMQ. A round is 2,000 rows by each,
// one after the other, so that what else the machine does is the same for all.
func BenchmarkWrite(b *testing.B) {
	const rows = 2000
	queues := []string{"plain", "pings", "pings.fifo"}
	server := elasticmq.Start(b, `plain { }`, `pings { }`, `"pings.fifo" { fifo = true }`)
	convoy := storetest.NewConvoy(rows, storetest.AnHourAgo(), 5000)
	took := make(map[string]time.Duration)
	for b.Loop() {
		r := store.Rows{N: rows}
		for _, queue := range queues {
			q, err := New(Config{URL: server.URL(queue)})
			if err != nil {
				b.Fatal(err)
			}
			client, url, err := q.queue.Open(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := client.PurgeQueue(b.Context(), &sqs.PurgeQueueInput{QueueUrl: url}); err != nil {
				b.Fatal(err)
			}
			if len(r.Bytes) == 0 {
				r.Bytes = convoy.Fill(nil, rows, q.AppendRow)
			}
			list, err := messages(r.Bytes, rows)
			if err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			if queue == "plain" {
				err = plainLoop(b, client, url, list)
			} else {
				err = q.Write(b.Context(), r)
			}
			if took[queue] += time.Since(began); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, queue := range queues {
		b.ReportMetric(float64(b.N*rows)/took[queue].Seconds(), queue+"-rows/s")
		b.ReportMetric(took["plain"].Seconds()/took[queue].Seconds(), queue+"/plain")
	}
}

func plainLoop(b *testing.B, client *sqs.Client, url *string, list []parcel) (err error) {
	var sending sync.WaitGroup
	var failed sync.Once
	for lane := range inFlight {
		sending.Go(func() {
			for i := lane * batchMessages; i < len(list); i += inFlight * batchMessages {
				in := &sqs.SendMessageBatchInput{QueueUrl: url}
				for k, m := range list[i : i+batchMessages] {
					in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(k)), MessageBody: &m.body, MessageAttributes: map[string]types.MessageAttributeValue{
						"id": {DataType: textType, StringValue: &m.id}, "kind": {DataType: textType, StringValue: m.kind},
					}})
				}
				if out, fault := client.SendMessageBatch(b.Context(), in); fault != nil || len(out.Failed) > 0 {
					failed.Do(func() { err = fmt.Errorf("%v: %w", out, fault) })
				}
			}
		})
	}
	sending.Wait()
	return err
}
