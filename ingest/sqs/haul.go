package sqs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/ingest/messages"
)

// batchMessages is the most messages of a request of SQS.
const batchMessages = 10

// haul are the messages of an answer, until each is deleted or given back.
type haul struct {
	*Receiver
	client *sqs.Client
	url    *string

	mu   sync.Mutex // guards left; taken alone
	left []types.Message
}

func newHaul(r *Receiver, client *sqs.Client, url *string, list []types.Message) *haul {
	return &haul{Receiver: r, client: client, url: url, left: list}
}

// take has the messages taken. It tries until that succeeds or ctx is cancelled; those that are
// left then are given back to the queue.
func (h *haul) take(ctx context.Context) {
	// Requests that end the work on messages outlive ctx.
	later := context.WithoutCancel(ctx)
	keeping, stop := context.WithCancel(later)
	var keeper sync.WaitGroup
	keeper.Go(func() { h.keep(keeping) })
	defer keeper.Wait()
	defer stop()
	for {
		wait := h.attempt(later)
		if len(h.left) == 0 { // written here alone
			return
		}
		pause(ctx, min(wait, time.Minute))
		if ctx.Err() != nil {
			h.count.add(Again, len(h.left))
			h.giveBack(later, h.left)
			return
		}
	}
}

// attempt has the messages taken that are left, once, and returns how long to wait before those
// that are left then.
func (h *haul) attempt(ctx context.Context) (wait time.Duration) {
	list := h.left
	bodies := make([][]byte, len(list))
	for i := range list {
		bodies[i] = unwrap([]byte(aws.ToString(list[i].Body)))
	}
	var done, back, left []types.Message
	for i, receipt := range h.cfg.Take.Take(bodies) {
		switch m := list[i]; receipt.Ending {
		case messages.Taken:
			h.count.add(Taken, 1)
			done = append(done, m)
		case messages.Refused:
			h.tell(&m, receipt.Why)
			if h.redrive.Load() {
				h.count.add(Refused, 1)
				back = append(back, m)
				break
			}
			reject := messages.Reject{At: time.Now().UnixMilli(), Topic: h.at.Name, Key: []byte(aws.ToString(m.MessageId)), Reason: receipt.Why, Body: receipt.Keep([]byte(aws.ToString(m.Body)))}
			if _, err := h.cfg.Rejects.Append([]messages.Reject{reject}); err != nil {
				// It stays in the queue, and comes again once it is visible: here it would keep
				// the poller from all others.
				h.unkeeps(err)
				h.count.add(Again, 1)
				break
			}
			h.unkept.Store(nil)
			h.count.add(Refused, 1)
			done = append(done, m)
		default:
			left, wait = append(left, m), max(wait, receipt.Wait)
		}
	}
	h.mu.Lock()
	h.left = left
	h.mu.Unlock()
	h.remove(ctx, done)
	h.giveBack(ctx, back)
	return wait
}

// unkeeps notes why a refused message cannot be kept, and logs it when that begins or changes.
func (h *haul) unkeeps(err error) {
	why := err.Error()
	if was := h.unkept.Swap(&why); was == nil || *was != why {
		h.cfg.Logger.Error("a refused message of --sqs-in stays in the queue", "reason", why)
	}
}

// tell logs a refused message, at most one a second.
func (h *haul) tell(m *types.Message, why string) {
	now := time.Now().Unix()
	if was := h.told.Load(); was < now && h.told.CompareAndSwap(was, now) {
		h.cfg.Logger.Warn("a message of --sqs-in can never be taken", "id", aws.ToString(m.MessageId), "reason", why, "redrive", h.redrive.Load())
	}
}

// keep extends the visibility of the messages that are left, until ctx is cancelled. What
// cannot be extended comes again and makes duplicates.
func (h *haul) keep(ctx context.Context) {
	tick := time.NewTicker(h.visibility / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.Lock()
		left := h.left
		h.mu.Unlock()
		h.show(ctx, left, h.visibility)
	}
}

// giveBack makes messages visible to all at once.
func (h *haul) giveBack(ctx context.Context, list []types.Message) { h.show(ctx, list, 0) }

// show makes messages visible to others after a while. An error means that they become so at
// another time, and is no reason to stop.
func (h *haul) show(ctx context.Context, list []types.Message, after time.Duration) {
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: h.url}
	for i := range list {
		in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: list[i].ReceiptHandle, VisibilityTimeout: int32(after.Seconds())})
	}
	if _, err := h.client.ChangeMessageVisibilityBatch(ctx, in); err != nil && !errors.Is(err, context.Canceled) {
		h.cfg.Logger.Debug("the visibility of messages of --sqs-in is not changed", "messages", len(list), "error", h.at.Explain(ctx, err))
	}
}

// attempts is how often messages are deleted; after that they come again.
const attempts = 3

// remove deletes messages.
func (h *haul) remove(ctx context.Context, list []types.Message) {
	for n := 0; len(list) > 0; n++ {
		rest, err := h.removeOnce(ctx, list)
		if err == nil && len(rest) == 0 {
			return
		}
		if n+1 == attempts {
			h.cfg.Logger.Warn("messages of --sqs-in that were taken are not deleted: they come again, and make duplicates", "messages", len(rest), "error", err)
			return
		}
		list = rest
		pause(ctx, 100*time.Millisecond<<n)
	}
}

// removeOnce deletes messages by one request, and returns those that are not deleted, and why.
func (h *haul) removeOnce(ctx context.Context, list []types.Message) (rest []types.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	in := &sqs.DeleteMessageBatchInput{QueueUrl: h.url}
	for i := range list {
		in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: list[i].ReceiptHandle})
	}
	out, err := h.client.DeleteMessageBatch(ctx, in)
	if err != nil {
		return list, h.at.Explain(ctx, err)
	}
	for _, f := range out.Failed {
		if i, convErr := strconv.Atoi(aws.ToString(f.Id)); convErr == nil && i >= 0 && i < len(list) {
			rest, err = append(rest, list[i]), fmt.Errorf("%s: %s", aws.ToString(f.Code), aws.ToString(f.Message))
		}
	}
	return rest, err
}

// unwrap returns the message in a notification of SNS, or else the body.
//
// Source: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
func unwrap(body []byte) []byte {
	if !bytes.Contains(body, []byte(`"TopicArn"`)) {
		return body
	}
	var n struct {
		Type, TopicArn string
		Message        *string
	}
	if err := json.Unmarshal(body, &n); err != nil || n.Type != "Notification" || n.TopicArn == "" || n.Message == nil {
		return body
	}
	return []byte(*n.Message)
}
