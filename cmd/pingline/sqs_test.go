package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/internal/awsqueue"
	"pingline/internal/elasticmq"
)

// sqsQueue is a queue as other services use it.
type sqsQueue struct {
	client *sqs.Client
	url    *string
}

func openQueue(t *testing.T, url string) *sqsQueue {
	t.Helper()
	at, err := awsqueue.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	client, name, err := awsqueue.New(at).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &sqsQueue{client, name}
}

// send sends messages, again and again until they are answered for.
func (q *sqsQueue) send(t *testing.T, bodies ...string) {
	t.Helper()
	for len(bodies) > 0 {
		n := min(len(bodies), 10)
		in := &sqs.SendMessageBatchInput{QueueUrl: q.url}
		for i, body := range bodies[:n] {
			in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(body)})
		}
		eventually(t, "messages are sent", func() bool {
			out, err := q.client.SendMessageBatch(t.Context(), in)
			return err == nil && len(out.Successful) == n
		})
		bodies = bodies[n:]
	}
}

// receive adds the bodies of messages to those that are known, by their ids or as they are.
func (q *sqsQueue) receive(t *testing.T, known map[string]bool) {
	t.Helper()
	out, err := q.client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.url, MaxNumberOfMessages: 10})
	if err != nil {
		return // it is asked again
	}
	for _, m := range out.Messages {
		var b struct{ ID string }
		if err := json.Unmarshal([]byte(*m.Body), &b); err != nil || b.ID == "" {
			b.ID = *m.Body
		}
		known[b.ID] = true
		_, _ = q.client.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle}) // else it comes again
	}
}

// Pings come from a queue, and go to InfluxDB and to another queue. Pingline is killed, and so is
// the server of the queues, and messages are delivered again: each ping is stored once, and is
// there for the next. A message that can never be taken is moved away by the queue.
func TestSQSInAndOut(t *testing.T) {
	const riders, each = 3, 60
	server := elasticmq.Start(t, `in { deadLettersQueue { name = "dead", maxReceiveCount = 20 } }`, `dead { }`, `"out.fifo" { fifo = true }`)
	store := startInflux(t)
	dir := t.TempDir()
	began := time.Now().Add(-time.Hour).Truncate(time.Second)
	start := func() *process {
		return serve(t, dir, store.URL(), "--sqs-in="+server.URL("in")+"?visibility=2s", "--max-error=0", "--accuracy-cap=0", "--rider-rate=0",
			"--shard=name=a,url="+store.URL(), "--shard=name=q,url="+server.URL("out.fifo")+",set=queue", "--route=location=main,queue")
	}
	in, out, dead := openQueue(t, server.URL("in")), openQueue(t, server.URL("out.fifo")), openQueue(t, server.URL("dead"))
	body := func(rider, i int) string {
		return fmt.Sprintf(`{"rider_id":"q-%d","ts":%d,"lat":%.3f,"lon":-8.629}`, rider, (began.Unix()+int64(i))*1000, 41+float64(i)/1000)
	}
	part := func(from, to int) (list []string) { // some in arrays, some in lines
		for i := from; i < to; i++ {
			list = append(list, body(0, i), "["+body(1, i)+"]", body(2, i)+"\n")
		}
		return list
	}
	p := start()
	in.send(t, part(0, each/3)...)
	in.send(t, "poison")
	eventually(t, "a message is taken", func() bool {
		n, err := p.metric(`pingline_sqs_in_messages_total{outcome="taken"}`)
		return err == nil && n > 0
	})
	p.kill()
	in.send(t, part(each/3, 2*each/3)...)
	p = start()
	eventually(t, "the queue answers", func() bool {
		n, err := p.metric("pingline_sqs_in_connected")
		return err == nil && n == 1
	})
	server.Kill()
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	in.send(t, part(2*each/3, each)...)
	in.send(t, part(0, 10)...) // again
	for rider := range riders {
		messages{fmt.Sprint("q-", rider), began}.stored(t, store, each)
	}
	got := make(map[string]bool)
	eventually(t, "each ping is in the other queue", func() bool {
		out.receive(t, got)
		return len(got) >= riders*each
	})
	if len(got) != riders*each {
		t.Errorf("%d pings are in the other queue, want %d", len(got), riders*each)
	}
	moved := make(map[string]bool)
	eventually(t, "the poison is moved away", func() bool {
		dead.receive(t, moved)
		return len(moved) > 0
	})
	if !moved["poison"] || len(moved) != 1 {
		t.Errorf("moved away: %v", moved)
	}
	if code := p.terminate(); code != 0 {
		t.Errorf("it exits with %d", code)
	}
	if strings.Contains(p.said(), "test-of-elasticmq") {
		t.Error("the log has a secret")
	}
}

// A queue that is not there hinders nobody: a node is ready for HTTP, and says in a sentence what
// is wrong.
func TestSQSUnknownQueue(t *testing.T) {
	server := elasticmq.Start(t, `in { }`)
	store := startInflux(t)
	p := serve(t, t.TempDir(), store.URL(), "--sqs-in="+server.URL("no-such-queue"))
	eventually(t, "a note says so", func() bool {
		status, text := p.readyz()
		return status == http.StatusOK && strings.Contains(text, "--sqs-in: ") && strings.Contains(text, "QueueDoesNotExist")
	})
}
