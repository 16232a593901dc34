package inlets

import (
	"context"

	"pingline/ingest/kafka"
	"pingline/ingest/messages"
	"pingline/ingest/sqs"
	pinglog "pingline/queue"
)

// FlagTrial is the result of a check of a way in, or of the log.
type FlagTrial struct {
	Flag string // that names it, such as kafka-in
	messages.Trial
}

// Try finds out whether the topic and the queue of settings that have been checked are there, and
// may be read, and whether the brokers of a log on Kafka answer. It takes no message.
func Try(ctx context.Context, log string, topic kafka.Topic, queue sqs.Inlet) (list []FlagTrial) {
	if found, remedy := pinglog.Try(ctx, log); found != "" {
		list = append(list, FlagTrial{"queue", messages.Trial{What: "brokers", Found: found, Remedy: remedy}})
	}
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
