package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline"
	"pingline/internal/elasticmq"
	"pingline/internal/jvm"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// reading reads a queue to its end, and keeps all that it ever read.
type reading struct {
	*awsQueue
	all []types.Message
}

type awsQueue struct {
	client *sqs.Client
	url    *string
}

// drain takes all messages out of the queue.
func (r *reading) drain(ctx context.Context) error {
	for {
		out, err := r.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: r.url, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameMessageGroupId}})
		if err != nil {
			return err
		}
		if len(out.Messages) == 0 {
			return nil
		}
		in := &sqs.DeleteMessageBatchInput{QueueUrl: r.url}
		for i, m := range out.Messages {
			r.all = append(r.all, m)
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(fmt.Sprint(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if deleted, err := r.client.DeleteMessageBatch(ctx, in); err != nil || len(deleted.Failed) > 0 {
			return fmt.Errorf("delete: %v, %w", deleted, err)
		}
	}
}

// body is the JSON of a message.
type body struct {
	ID, Name, Line string
	Rider          string `json:"rider_id"`
	TS             int64
}

// count returns how many pings there are, or points of a name, by ids if copies may be there.
func (r *reading) count(ctx context.Context, name string, byID bool) (int, error) {
	if err := r.drain(ctx); err != nil {
		return 0, err
	}
	n, ids := 0, make(map[string]bool)
	for _, m := range r.all {
		var b body
		if err := json.Unmarshal([]byte(*m.Body), &b); err != nil {
			return 0, fmt.Errorf("%s: %w", *m.Body, err)
		}
		if id := *m.MessageAttributes["id"].StringValue; id != b.ID {
			return 0, fmt.Errorf("ids %q and %q", id, b.ID)
		}
		if b.Name != name || b.Line != "" || byID && ids[b.ID] {
			continue
		}
		ids[b.ID] = true
		n++
	}
	return n, nil
}

func open(t *testing.T, url string) *Inbox {
	t.Helper()
	q, err := New(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// look returns a reader of a queue of ElasticMQ.
func look(t *testing.T, q *Inbox) *reading {
	t.Helper()
	client, url, err := q.queue.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &reading{awsQueue: &awsQueue{client, url}}
}

func TestSQS(t *testing.T) {
	server := elasticmq.Start(t, `pings { }`, `"pings.fifo" { fifo = true }`, `"killed.fifo" { fifo = true }`, `"order.fifo" { fifo = true }`)
	for _, queue := range []string{"pings", "pings.fifo"} {
		t.Run("keeps the contract in "+queue, func(t *testing.T) { testContract(t, server, queue) })
	}
	t.Run("order", func(t *testing.T) { testOrder(t, server) })
	t.Run("a server that is killed", func(t *testing.T) { testKilledServer(t, server) })
	t.Run("no such queue", func(t *testing.T) { testUnknownQueue(t, server) })
}

func testContract(t *testing.T, server *elasticmq.Server, queue string) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		q := open(t, server.URL(queue))
		r := look(t, q)
		if err := r.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.all = nil
		p := storetest.Place{
			Store: q, Intruder: open(t, intruders(t, "InvalidClientTokenId", "The security token included in the request is invalid.")),
			Freeze: server.Freeze, Thaw: server.Thaw,
			Points: func(ctx context.Context, name string) (int, error) {
				return r.count(ctx, name, queue == "pings")
			},
		}
		if queue == "pings" { // killed.fifo is killed below
			p.Kill, p.Restart = func() error { server.Kill(); return nil }, server.Restart
		}
		return p
	})
}

// intruders is a server that knows nobody, since ElasticMQ asks for no credentials.
func intruders(t *testing.T, code, text string) string {
	return fake(t, func(w http.ResponseWriter, _ string, _ []byte) { refuse(w, http.StatusForbidden, code, text) })
}

func write(ctx context.Context, q *Inbox, list []pingline.Entry) error {
	rows := store.Rows{}
	for i := range list {
		rows.Bytes = q.AppendRow(rows.Bytes, &list[i])
		rows.N++
	}
	return q.Write(ctx, rows)
}

// deliver writes until the queue has all.
func deliver(ctx context.Context, t *testing.T, q *Inbox, list []pingline.Entry) {
	t.Helper()
	for {
		err := write(ctx, q, list)
		if err == nil {
			return
		}
		if why := new(store.Refusal); !errors.As(err, &why) || why.Kind != store.Retry {
			t.Fatal(err)
		}
	}
}

// testOrder reads the pings of each rider in the order in which they were written.
func testOrder(t *testing.T, server *elasticmq.Server) {
	q := open(t, server.URL("order.fifo"))
	deliver(t.Context(), t, q, storetest.Fleet(4, 200))
	r := look(t, q)
	if err := r.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := make(map[string]int64)
	for _, m := range r.all {
		var b body
		if err := json.Unmarshal([]byte(*m.Body), &b); err != nil {
			t.Fatal(err)
		}
		if group := m.Attributes["MessageGroupId"]; group != b.Rider || b.TS <= last[b.Rider] {
			t.Errorf("group %q, rider %q: %d behind %d", group, b.Rider, b.TS, last[b.Rider])
		}
		last[b.Rider] = b.TS
	}
}

// testKilledServer kills the server in the middle of a write, and after one that it has
// answered: each message is there once.
func testKilledServer(t *testing.T, server *elasticmq.Server) {
	q := open(t, server.URL("killed.fifo"))
	const before = 100
	list := storetest.Fleet(3, 800)
	ctx, cancel := context.WithTimeout(t.Context(), jvm.Patience)
	defer cancel()
	deliver(ctx, t, q, list[:before])
	failed := make(chan error)
	go func() { failed <- write(ctx, q, list[before:]) }()
	r := look(t, q)
	for n := 0; n <= before; { // until some messages of the second write are there
		out, err := r.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: r.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages}})
		if err != nil {
			t.Fatal(err)
		}
		n, _ = strconv.Atoi(out.Attributes["ApproximateNumberOfMessages"])
	}
	server.Kill()
	if err := <-failed; err != nil {
		if why := new(store.Refusal); !errors.As(err, &why) || why.Kind != store.Retry {
			t.Fatal(err)
		}
	} else {
		t.Log("the write was over before the kill")
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	deliver(ctx, t, q, list[before:])
	if n, err := r.count(ctx, "", false); err != nil || n != len(list) {
		t.Errorf("%d messages, %v, want %d", n, err, len(list))
	}
}

// testUnknownQueue has an operator told in a sentence that there is no such queue.
func testUnknownQueue(t *testing.T, server *elasticmq.Server) {
	q := open(t, server.URL("no-such-queue"))
	why := new(store.Refusal)
	if err := q.Write(t.Context(), store.Rows{}); !errors.As(err, &why) || why.Kind != store.Configure || why.Reason != store.Missing {
		t.Fatalf("%v: %+v", err, why)
	}
	if text := why.Error(); strings.Contains(text, "\n") || !strings.Contains(text, "no-such-queue") || !strings.Contains(text, "does not exist") {
		t.Errorf("it says %q", text)
	}
	if list := q.Check(t.Context()); len(list) != 1 || list[0].Remedy != why.Advice {
		t.Errorf("it finds %+v", list)
	}
	if list := open(t, server.URL("pings")).Check(t.Context()); len(list) != 3 || list[0].Remedy+list[1].Remedy+list[2].Remedy != "" {
		t.Errorf("of a queue that is there it finds %+v", list)
	}
}
