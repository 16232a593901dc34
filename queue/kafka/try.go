package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"pingline/internal/kafkalink"
)

// Try asks the brokers whether they answer and have the topics of a log, and changes nothing. It
// returns what it found, and a remedy if something is wrong.
func Try(ctx context.Context, cfg Config) (found, remedy string) {
	link, err := parse(cfg.URL)
	if err != nil {
		return err.Error(), "correct --queue"
	}
	began := time.Now()
	cl, err := dial(link)
	if err != nil {
		return err.Error(), remedyOf(err)
	}
	defer cl.Close()
	name := topicsOf(cfg.Stream)
	adm := kadm.NewClient(cl)
	said, err := adm.ListTopics(ctx, name.log, name.state, name.filter)
	if err != nil {
		return err.Error(), remedyOf(err)
	}
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return err.Error(), remedyOf(err)
	}
	text := []string{fmt.Sprintf("%d answer at %s in %d ms", len(brokers), strings.Join(link.Seeds, ","), time.Since(began).Milliseconds())}
	var absent []string
	for _, topic := range []string{name.log, name.state, name.filter} {
		switch d, there := said[topic]; {
		case !there || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			absent = append(absent, topic)
		case d.Err != nil:
			return fmt.Sprintf("topic %s: %v", topic, d.Err), remedyOf(d.Err)
		case topic == name.log:
			text = append(text, fmt.Sprintf("topic %s has %d replicas", topic, len(d.Partitions[0].Replicas)))
		}
	}
	if len(absent) > 0 {
		text = append(text, strings.Join(absent, ", ")+": not there yet, and made by the first node")
	}
	return strings.Join(text, "; "), ""
}

func remedyOf(err error) string {
	switch fault := new(kafkalink.FileFault); {
	case errors.As(err, &fault):
		return "correct the files named in --queue"
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "correct the user, ?sasl= or the password file in --queue"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "let the user Create, AlterConfigs, Describe, DescribeConfigs, Read, Write and Delete the topics"
	}
	return "check --queue, and that Kafka runs and no firewall is in between: each broker must be reachable by the name that it tells"
}
