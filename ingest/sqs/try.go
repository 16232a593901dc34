package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pingline/ingest/messages"
	"pingline/internal/awsqueue"
)

// Try finds out whether the queue is there, and whether messages may be received and deleted. It
// asks for more messages than SQS gives, and for a delete of none: SQS looks at the queue and the
// rights first, and then says that the request is not valid. So no message is received, which its
// redrive would count. The settings must have been checked.
func (in *Inlet) Try(ctx context.Context) []messages.Trial {
	failed := func(what string, err error) messages.Trial {
		f := messages.Trial{What: what, Found: err.Error(), Remedy: "check --sqs-in, and that its server can be reached"}
		if fault := new(awsqueue.QueueFault); errors.As(err, &fault) && fault.Advice != "" {
			f.Remedy = fault.Advice
		}
		return f
	}
	at, _, _, err := in.parse()
	if err != nil {
		return []messages.Trial{failed("reachable", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	began := time.Now()
	client, url, err := awsqueue.New(at).Open(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%s: no answer within %v", &at, wait)
	}
	if err != nil {
		return []messages.Trial{failed("reachable", err)}
	}
	list := []messages.Trial{{What: "reachable", Found: fmt.Sprintf("%s is there, answers in %d ms", &at, time.Since(began).Milliseconds())}}
	_, err = client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: batchMessages + 1})
	if err == nil || invalid(err, "InvalidParameterValue", "ReadCountOutOfRange") {
		_, err = client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: url, Entries: []types.DeleteMessageBatchRequestEntry{}})
	}
	if err != nil && !invalid(err, "EmptyBatchRequest") {
		return append(list, failed("read", at.Explain(ctx, err)))
	}
	return append(list, messages.Trial{What: "read", Found: "messages may be received and deleted"})
}

// invalid reports whether SQS has refused a request by one of some codes, which may have a prefix.
func invalid(err error, codes ...string) bool {
	return slices.ContainsFunc(codes, func(code string) bool { return strings.Contains(err.Error(), code) })
}
