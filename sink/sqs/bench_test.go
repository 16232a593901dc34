package sqs

import (
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline"
	"pingline/internal/elasticmq"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// BenchmarkSQSLoader compares a Write with a plain loop of the SDK over the same messages, ten in
// a batch and as many batches in flight, against an ElasticMQ.
func BenchmarkSQSLoader(b *testing.B) {
	server := elasticmq.Start(b, `plain { }`, `pings { }`, `"pings.fifo" { fifo = true }`)
	for name, queue := range map[string]string{"SQS": "pings", "SQS, FIFO": "pings.fifo"} {
		b.Run(name+"/loop over the SDK, 80 at once", func(b *testing.B) {
			empty := func(queue string) (q *Inbox, client *sqs.Client, url *string) {
				q, err := New(Config{URL: server.URL(queue)})
				if err != nil {
					b.Fatal(err)
				}
				if client, url, err = q.queue.Open(b.Context()); err != nil {
					b.Fatal(err)
				}
				if _, err := client.PurgeQueue(b.Context(), &sqs.PurgeQueueInput{QueueUrl: url}); err != nil {
					b.Fatal(err)
				}
				return q, client, url
			}
			rows := func(q *Inbox, list []pingline.Entry) store.Rows {
				r := store.Rows{N: len(list)}
				for i := range list {
					r.Bytes = q.AppendRow(r.Bytes, &list[i])
				}
				return r
			}
			writer := func(list []pingline.Entry) func() error {
				q, _, _ := empty(queue)
				r := rows(q, list)
				return func() error { return q.Write(b.Context(), r) }
			}
			loader := func(list []pingline.Entry) func() error {
				q, client, url := empty("plain")
				parcels, err := messages(rows(q, list).Bytes, len(list))
				if err != nil {
					b.Fatal(err)
				}
				return func() error { return plainLoop(b, client, url, parcels) }
			}
			storetest.Race(b, storetest.NewConvoy(2000, storetest.AnHourAgo(), 5000), 2000, writer, loader)
		})
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
