package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/sink/store"
)

// Check finds out whether the cluster answers and has the topics, and which risk their settings
// take. It makes no topic and sends nothing.
func (t *Topics) Check(ctx context.Context) []store.Finding {
	ctx, cancel := context.WithTimeout(ctx, 2*t.cfg.Timeout)
	defer cancel()
	began := time.Now()
	where := strings.Join(t.link.Seeds, ",")
	adm := kadm.NewClient(t.open())
	var topics []string
	for kind := range suffixes {
		topics = append(topics, t.topic(byte(kind)))
	}
	found, err := adm.ListTopics(ctx, topics...)
	if err != nil {
		why := refusal(err)
		if why.Advice == "" {
			why.Advice = t.adviceReach(err)
		}
		return []store.Finding{{What: "reachable", Found: where + ": " + why.Error(), Remedy: why.Advice}}
	}
	list := []store.Finding{{What: "reachable", Found: fmt.Sprintf("%s answers in %d ms", where, time.Since(began).Milliseconds())}}
	var absent []string
	for _, topic := range topics {
		switch d, ok := found[topic]; {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
			absent = append(absent, topic)
			delete(found, topic)
		case d.Err != nil:
			why := refusal(d.Err)
			list = append(list, store.Finding{What: "topic " + topic, Found: why.Error(), Remedy: why.Advice})
			delete(found, topic)
		}
	}
	if len(found) > 0 {
		t.learn(ctx, adm, found)
	}
	for _, topic := range slices.Sorted(maps.Keys(found)) {
		list = append(list, t.judge(topic))
	}
	if len(absent) == 0 {
		return list
	}
	f := store.Finding{What: "topics", Found: strings.Join(absent, ", ") + ": not there yet, and made when a message comes for them"}
	if !t.cfg.CreateTopics && slices.Contains(absent, t.link.Topic) {
		f.Found, f.Remedy = strings.Join(absent, ", ")+": not there", adviceTopic
	}
	return append(list, f)
}

// adviceReach says what may help against an error of a broker that has not answered.
func (t *Topics) adviceReach(err error) string {
	switch closed := errors.As(err, new(*kgo.ErrFirstReadEOF)); {
	case closed && t.link.TLS:
		return "the port may speak no TLS: write kafka:// for kafkas://, or name the port that does"
	case closed:
		return "the port may ask for TLS or for a user: write kafkas:// for kafka://, or USER@HOST with token-file"
	}
	return "check the url, and that Kafka runs and no firewall is in between: each broker must be reachable by the name that it tells"
}

// judge tells of a topic, and of the risk that its settings take.
func (t *Topics) judge(topic string) store.Finding {
	f := t.factsOf(topic)
	s := store.Finding{What: "topic " + topic, Found: fmt.Sprintf("has %d partitions, %d replicas", f.partitions, f.replicas)}
	switch {
	case f.insync == "":
		s.Found += "; min.insync.replicas is not told to this user"
	default:
		s.Found += ", min.insync.replicas " + f.insync
	}
	switch {
	case f.replicas == 1:
		s.Found += ": a broker that is lost takes its messages with it"
	case f.insync == "1":
		s.Found += ": a broker may acknowledge alone, and a message is lost with it"
	}
	return s
}
