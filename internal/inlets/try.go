package inlets

import (
	"context"

	"pingline/ingest/kafka"
	"pingline/ingest/messages"
	"pingline/ingest/sqs"
)

// FlagTrial is the result of a check of a way in.
type FlagTrial struct {
	Flag string // that names the way in, such as kafka-in
	messages.Trial
}

// Try finds out whether the topic and the queue of settings that have been checked are there, and
// may be read. It takes no message.
func Try(ctx context.Context, topic kafka.Topic, queue sqs.Inlet) (list []FlagTrial) {
	if topic.URL != "" {
		for _, f := range topic.Try(ctx) {
			list = append(list, FlagTrial{"kafka-in", f})
		}
	}
	if queue.URL != "" {
		for _, f := range queue.Try(ctx) {
			list = append(list, FlagTrial{"sqs-in", f})
		}
	}
	return list
}
