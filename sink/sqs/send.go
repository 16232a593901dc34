package sqs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/internal/awsqueue"
	"pingline/sink/store"
)

// Limits of a request of SendMessageBatch. SQS takes 1 MiB since 2025, other servers 256 KiB.
// Our messages are a few hundred bytes, so that the number counts.
const (
	batchMessages = 10
	batchBytes    = 256 << 10
	messageBytes  = 128 // of attributes, besides the body
)

// inFlight is how many requests of a Write are on their way at once.
const inFlight = 8

// rounds is how often messages are sent that a request refused one by one, and not for their
// content.
const rounds = 3

// badRows are rows that SQS refuses for their content.
type badRows struct {
	rows   []int // in order
	reason string
	text   string
}

func (b *badRows) Error() string { return b.text }

// outbound is a Write on its way.
type outbound struct {
	ctx    context.Context //nolint:containedctx // of one Write
	to     *Inbox
	client *sqs.Client
	url    *string
	list   []parcel
	done   []bool // by index in list: SQS has taken it

	mu  sync.Mutex // guards the fields below; taken alone
	bad badRows
	err error // the first
}

// send sends messages and returns which of them SQS has taken. Without messages it asks whether
// any would be, if told to.
func (q *Inbox) send(ctx context.Context, list []parcel, ask bool) (done []bool, err error) {
	done = make([]bool, len(list))
	if len(list) == 0 && !ask {
		return done, nil
	}
	client, url, err := q.queue.Open(ctx)
	if err != nil {
		return done, err
	}
	o := &outbound{ctx: ctx, to: q, client: client, url: url, list: list, done: done}
	if len(list) == 0 {
		err = o.ask()
	} else {
		err = o.all()
	}
	if fault := new(awsqueue.QueueFault); errors.As(err, &fault) && fault.Why == awsqueue.NoQueue {
		q.queue.Forget()
	}
	return done, err
}

// ask sends a batch without messages. SQS looks at the queue and the rights first, and then
// says that the batch is empty.
func (o *outbound) ask() error {
	_, err := o.client.SendMessageBatch(o.ctx, &sqs.SendMessageBatchInput{QueueUrl: o.url, Entries: []types.SendMessageBatchRequestEntry{}})
	if err == nil || errors.As(err, new(*types.EmptyBatchRequest)) || strings.Contains(err.Error(), "EmptyBatchRequest") {
		return nil
	}
	return o.to.at.Explain(o.ctx, err)
}

// all sends all messages, in lanes: those of a group in one lane, one batch after the other.
func (o *outbound) all() error {
	var lanes [inFlight][]int
	seed := maphash.MakeSeed()
	for i := range o.list {
		lane := i / batchMessages % inFlight
		if o.to.at.FIFO() {
			lane = int(maphash.String(seed, o.list[i].group) % inFlight)
		}
		lanes[lane] = append(lanes[lane], i)
	}
	var sending sync.WaitGroup
	for _, lane := range lanes {
		if len(lane) > 0 {
			sending.Go(func() { o.lane(lane) })
		}
	}
	sending.Wait()
	if o.err == nil && len(o.bad.rows) > 0 {
		slices.Sort(o.bad.rows)
		return &o.bad
	}
	return o.err
}

// lane sends messages, by index, until one request fails as a whole.
func (o *outbound) lane(list []int) {
	for len(list) > 0 && !o.failed() {
		n, bytes := 0, 0
		for n < min(len(list), batchMessages) {
			if bytes += len(o.list[list[n]].body) + messageBytes; n > 0 && bytes > batchBytes {
				break
			}
			if o.to.at.FIFO() && o.again(list[:n], list[n]) {
				break
			}
			n++
		}
		o.batch(list[:n])
		list = list[n:]
	}
}

// again reports whether a row is among messages already, with other content. Both in one request
// could come in the opposite order, if a part of it failed, and the last one counts.
func (o *outbound) again(list []int, i int) bool {
	return slices.ContainsFunc(list, func(k int) bool { return o.list[k].id == o.list[i].id })
}

func (o *outbound) failed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err != nil
}

// fails notes the first error.
func (o *outbound) fails(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

// refuses notes a message that SQS refuses for its content.
func (o *outbound) refuses(i int, code, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	reason := store.Other
	switch code = code[strings.LastIndexByte(code, '.')+1:]; code {
	case "InvalidMessageContents":
		reason = store.Unparsable
	case "BatchRequestTooLong", "InvalidParameterValue":
		reason = store.TooLarge
	}
	o.bad.rows = append(o.bad.rows, o.list[i].row)
	o.bad.reason, o.bad.text = reason, fmt.Sprintf("%s: %s: %s", &o.to.at, code, text)
}

// batch sends messages in one request, and one by one what the request did not take.
func (o *outbound) batch(list []int) {
	for round := 0; ; round++ {
		rest, err := o.request(list)
		if content(err) && len(list) > 1 { // the request names no message
			for _, i := range list {
				if o.failed() { // what is behind would come before it
					return
				}
				o.batch([]int{i})
			}
			return
		}
		switch {
		case content(err):
			o.refuses(list[0], "InvalidMessageContents", err.Error())
			return
		case len(rest) == 0 && err == nil:
			return
		case len(rest) == 0 || round+1 == rounds:
			o.fails(err)
			return
		}
		list = rest
		select {
		case <-time.After(50 * time.Millisecond << round):
		case <-o.ctx.Done():
			o.fails(o.ctx.Err())
			return
		}
	}
}

// content reports whether a request was refused for the content of a message.
func content(err error) bool {
	fault := new(awsqueue.QueueFault)
	return errors.As(err, &fault) && fault.Why == awsqueue.Content
}

var textType = aws.String("String") // of attributes

// request makes one request. It returns the messages that may be taken if they are sent again,
// with the reason; an error without messages is of the request as a whole.
func (o *outbound) request(list []int) (rest []int, err error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: o.url, Entries: make([]types.SendMessageBatchRequestEntry, len(list))}
	for k, i := range list {
		m := &o.list[i]
		e := &in.Entries[k]
		*e = types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(k)), MessageBody: &m.body, MessageAttributes: map[string]types.MessageAttributeValue{
			"id":   {DataType: textType, StringValue: &m.id},
			"kind": {DataType: textType, StringValue: m.kind},
		}}
		if o.to.at.FIFO() {
			e.MessageGroupId, e.MessageDeduplicationId = &m.group, &m.token
		}
	}
	out, err := o.client.SendMessageBatch(o.ctx, in)
	if err != nil {
		return nil, o.to.at.Explain(o.ctx, err)
	}
	for _, ok := range out.Successful {
		if k, err := strconv.Atoi(aws.ToString(ok.Id)); err == nil && k >= 0 && k < len(list) {
			o.done[list[k]] = true
		}
	}
	answered := len(out.Successful)
	for _, no := range out.Failed {
		k, convErr := strconv.Atoi(aws.ToString(no.Id))
		if convErr != nil || k < 0 || k >= len(list) || o.done[list[k]] {
			continue
		}
		answered++
		code, text := aws.ToString(no.Code), aws.ToString(no.Message)
		why, advice, known := awsqueue.Meaning(code)
		switch {
		case known && why != awsqueue.Content: // such as too fast, or no right to use a key
			rest = append(rest, list[k])
			err = &awsqueue.QueueFault{Why: why, Advice: advice, Err: fmt.Errorf("%s: %s: %s", &o.to.at, code, text)}
		case no.SenderFault:
			o.refuses(list[k], code, text)
		default:
			rest = append(rest, list[k])
			err = &awsqueue.QueueFault{Err: fmt.Errorf("%s: %s: %s", &o.to.at, code, text)}
		}
	}
	if answered < len(list) {
		return nil, &awsqueue.QueueFault{Err: fmt.Errorf("%s: the answer tells of %d messages of %d", &o.to.at, answered, len(list))}
	}
	return rest, err
}
