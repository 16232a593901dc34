// Package sqs writes pings and points into a queue of Amazon SQS, or of a server that speaks as
// SQS does, as messages of JSON, one a row.
//
// A queue is read by others and forgets what was read: it is no store that can be queried. A
// row that is written twice is a message with the same id and the same content. A FIFO queue
// drops the second within five minutes; from a standard queue both come, and it is for their
// reader to go by the id. A row that is written again with other content is another message
// with the same id, and the last one counts.
//
// A Write that was made in part is made good by the next: rows that SQS has taken are not sent
// again by the same process.
package sqs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"pingline"
	"pingline/internal/awsqueue"
	"pingline/sink/store"
)

// Config says where a queue is. URL is required.
type Config struct {
	// URL is sqs://region/queue or sqs://region/account/queue, or sqs+http://host:port/queue
	// of another server. A name that ends in .fifo is that of a FIFO queue.
	URL string
}

// Inbox is a queue in which others find our messages. It is safe for concurrent use.
type Inbox struct {
	at    awsqueue.QueueURL
	queue *awsqueue.Handle

	mu   sync.Mutex          // guards sent; taken alone
	sent map[string]struct{} // tokens of rows that SQS took in a Write that failed
}

var (
	_ store.Store   = (*Inbox)(nil)
	_ store.Checker = (*Inbox)(nil)
)

// New returns the queue that cfg names, or an error about its URL; it does not connect.
func New(cfg Config) (*Inbox, error) {
	at, err := awsqueue.Parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	return &Inbox{at: at, queue: awsqueue.New(at), sent: make(map[string]struct{})}, nil
}

// AppendRow appends e in a form of its own: see message.go.
func (q *Inbox) AppendRow(dst []byte, e *pingline.Entry) []byte { return appendRow(dst, e) }

// Close returns nil. Connections that are idle close by themselves.
func (q *Inbox) Close() error { return nil }

// Sequential reports whether the queue keeps an order, so that one write is to be over before the
// next begins.
func (q *Inbox) Sequential() bool { return q.at.FIFO() }

// Write makes an attempt to send rows, as store.Store wants it.
func (q *Inbox) Write(ctx context.Context, rows store.Rows) error {
	all, err := messages(rows.Bytes, rows.N)
	if err != nil {
		return err
	}
	list := q.unsent(all)
	done, err := q.send(ctx, list, rows.N == 0)
	if err == nil {
		q.forget(all)
		return nil
	}
	q.remember(list, done)
	if ctx.Err() != nil {
		return fmt.Errorf("write to %s: %w", &q.at, ctx.Err())
	}
	return refusal(err, rows.N)
}

// refusal turns an error into a *store.Refusal of n rows.
func refusal(err error, n int) error {
	r := &store.Refusal{Kind: store.Retry, Err: errors.New(store.Clip(err.Error()))}
	if bad := new(badRows); errors.As(err, &bad) {
		r.Kind, r.Reason, r.Suspects, r.All = store.BadRows, bad.reason, bad.rows, len(bad.rows) == n
		return r
	}
	if fault := new(awsqueue.QueueFault); errors.As(err, &fault) {
		stops := map[awsqueue.Why]string{
			awsqueue.NoCredentials: store.Credentials, awsqueue.NoRight: store.Rights,
			awsqueue.NoQueue: store.Missing, awsqueue.WrongAddress: store.Address,
		}
		if stop := stops[fault.Why]; stop != "" {
			r.Kind, r.Reason, r.Advice = store.Configure, stop, fault.Advice
		}
		r.Busy = fault.Why == awsqueue.TooFast
	}
	return r
}

// maxSent bounds how many rows of writes that failed are remembered.
const maxSent = 1 << 17

// unsent returns the messages that SQS has not taken yet.
func (q *Inbox) unsent(list []parcel) []parcel {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent) == 0 {
		return list
	}
	kept := make([]parcel, 0, len(list))
	for _, m := range list {
		if _, is := q.sent[m.token]; !is {
			kept = append(kept, m)
		}
	}
	return kept
}

// remember notes the messages that SQS took in a write that failed as a whole. All notes are
// dropped when there are too many: those messages are sent again then.
func (q *Inbox) remember(list []parcel, done []bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent)+len(list) > maxSent {
		clear(q.sent)
	}
	for i := range list {
		if done[i] {
			q.sent[list[i].token] = struct{}{}
		}
	}
}

// forget drops the notes of messages that are all sent now: the same rows may be written
// again later, with other content in between.
func (q *Inbox) forget(list []parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent) == 0 {
		return
	}
	for i := range list {
		delete(q.sent, list[i].token)
	}
}

// Check finds out whether the queue is there and may be written to. It sends no message.
func (q *Inbox) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	began := time.Now()
	if _, _, err := q.queue.Open(ctx); err != nil {
		return []store.Finding{found("reachable", err)}
	}
	kind := "a standard queue: a row that is sent twice comes twice, with the same id"
	if q.at.FIFO() {
		kind = "a FIFO queue: a row that is sent twice within 5 min comes once"
	}
	list := []store.Finding{{What: "reachable", Found: fmt.Sprintf("%s answers in %d ms", &q.at, time.Since(began).Milliseconds())}, {What: "kind", Found: kind}}
	if _, err := q.send(ctx, nil, true); err != nil {
		return append(list, found("write", err))
	}
	return append(list, store.Finding{What: "write", Found: "messages may be sent"})
}

// found returns a finding of an error.
func found(about string, err error) store.Finding {
	f := store.Finding{What: about, Found: err.Error(), Remedy: "check that the server runs, and that no firewall or proxy is in between"}
	if fault := new(awsqueue.QueueFault); errors.As(err, &fault) && fault.Advice != "" {
		f.Remedy = fault.Advice
	}
	return f
}
