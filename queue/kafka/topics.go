package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline/queue/driver"
)

// topics are the names of a log's topics.
type topics struct{ log, state, filter string }

func topicsOf(stream string) topics {
	name := strings.ToLower(stream)
	return topics{name + ".log", name + ".state", name + ".filter"}
}

// topicLimits are the settings of a topic that matter to a log.
type topicLimits struct {
	message int    // bytes of a batch
	warning string // which risk the settings take
}

const mostReplicas = 3

// Settings of a new topic. Those of must are set on a topic that is there, too: each keeps Kafka
// from deleting or losing what was acknowledged.
var (
	must = map[string]string{
		"cleanup.policy":                 "delete",
		"retention.ms":                   "-1",
		"retention.bytes":                "-1",
		"unclean.leader.election.enable": "false",
	}
	first = map[string]string{
		"compression.type":       "producer", // ours are binary, and are not compressed
		"max.message.bytes":      strconv.Itoa(1<<20 + 16<<10),
		"message.timestamp.type": "LogAppendTime",        // or an append would be refused where our clock is wrong
		"segment.bytes":          strconv.Itoa(64 << 20), // deleted as a whole, once all of its records are trimmed
		"segment.ms":             strconv.Itoa(int((10 * time.Minute).Milliseconds())),
	}
)

// adopt creates a topic, or changes an existing one to our settings, and returns its limits.
func (s *LogSession) adopt(ctx context.Context, cl *kgo.Client, topic string, partitions int32) (l topicLimits, err error) {
	adm := kadm.NewClient(cl)
	for tries := 0; ; tries++ {
		once, done := context.WithTimeout(ctx, driver.RequestTimeout)
		l, err = s.tryAdopt(once, adm, topic, partitions)
		done()
		// A topic that was just made is not known to all brokers at once.
		if err == nil || final(err) || tries == adoptTries || ctx.Err() != nil {
			return l, err
		}
		if err := wait(ctx); err != nil {
			return l, err
		}
	}
}

const adoptTries = 100

func wait(ctx context.Context) error {
	select {
	case <-time.After(again):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *LogSession) tryAdopt(ctx context.Context, adm *kadm.Client, topic string, partitions int32) (l topicLimits, err error) {
	found, err := adm.ListTopics(ctx, topic)
	if err != nil {
		return l, err
	}
	d, there := found[topic]
	if !there || errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
		if err := s.create(ctx, adm, topic, partitions); err != nil {
			return l, err
		}
		return l, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition) // until it is told
	}
	if d.Err != nil {
		return l, d.Err
	}
	if n := len(d.Partitions); n != int(partitions) {
		return l, fmt.Errorf("%w: it has %d partitions, and must have %d", errUnfit, n, partitions)
	}
	for _, p := range d.Partitions {
		if p.Leader < 0 {
			return l, errLeader
		}
	}
	l, _, err = setRight(ctx, adm, topic, len(d.Partitions[0].Replicas))
	return l, err
}

// setRight changes the settings of a topic to ours, and returns its limits and the names of changed settings.
func setRight(ctx context.Context, adm *kadm.Client, topic string, replicas int) (l topicLimits, changed []string, err error) {
	told, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return l, nil, err
	}
	config, err := told.On(topic, nil)
	if err == nil {
		err = config.Err
	}
	if err != nil {
		return l, nil, err
	}
	have := make(map[string]string)
	for _, c := range config.Configs {
		have[c.Key] = c.MaybeValue()
	}
	want := maps.Clone(must)
	if insync, _ := strconv.Atoi(have["min.insync.replicas"]); insync < insyncOf(replicas) {
		want["min.insync.replicas"] = strconv.Itoa(insyncOf(replicas))
	}
	if changed, err = alter(ctx, adm, topic, have, want); err != nil {
		return l, changed, err
	}
	return limitsOf(have, replicas), changed, nil
}

const (
	settingsLook = 30 * time.Second // between two looks: Kafka looks every 5 minutes whether it may delete
	settingsTold = 10 * time.Minute // for which a change by somebody else is told of
)

// guardSettings sets the topics' settings right again where somebody changes them, as a tool does that keeps all topics
// alike, until the session is closed.
func (s *LogSession) guardSettings() {
	tick := time.NewTicker(settingsLook)
	defer tick.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-tick.C:
			s.lookAtSettings()
		}
	}
}

func (s *LogSession) lookAtSettings() {
	adm := kadm.NewClient(s.beside)
	var news []string
	for _, topic := range []string{s.topics.log, s.topics.state} {
		ctx, cancel := context.WithTimeout(s.life, driver.RequestTimeout)
		found, err := adm.ListTopics(ctx, topic)
		// A topic that is away is not made anew: appends say that it is.
		if d := found[topic]; err == nil && d.Err == nil && len(d.Partitions) > 0 {
			_, changed, err := setRight(ctx, adm, topic, len(d.Partitions[0].Replicas))
			if text := strings.Join(changed, ", ") + " of topic " + topic; err == nil && len(changed) > 0 {
				news = append(news, text+" (set right again)")
			} else if len(changed) > 0 {
				news = append(news, fmt.Sprintf("%s (and it cannot be set right: %v)", text, err))
			}
		}
		cancel()
	}
	if len(news) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed, s.changedAt = "somebody has changed settings, by which Kafka may delete or lose pings: "+strings.Join(news, ", "), time.Now()
}

// insyncOf is how many replicas must have a message before it is acknowledged, of so many.
func insyncOf(replicas int) int { return min(2, max(1, replicas-1)) }

func limitsOf(have map[string]string, replicas int) (l topicLimits) {
	l.message, _ = strconv.Atoi(have["max.message.bytes"])
	if l.message = cmp.Or(l.message, 1_000_000); l.message > mostMessage {
		l.message = mostMessage
	}
	switch {
	case replicas == 1:
		l.warning = "a broker that is lost takes the log with it: its topic has no replicas"
	case have["min.insync.replicas"] == "1":
		l.warning = "a broker may acknowledge pings alone, and takes them with it: min.insync.replicas of the log's topic is 1"
	case have["flush.messages"] != "1":
		l.warning = "Kafka does not sync the log to disk: the power of most brokers that fails at once takes the newest pings (flush.messages is not 1)"
	}
	return l
}

const mostMessage = 16 << 20 // bytes

// alter changes the settings of a topic that differ, and returns their names.
func alter(ctx context.Context, adm *kadm.Client, topic string, have, want map[string]string) (keys []string, err error) {
	var list []kadm.AlterConfig
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value := want[key]; have[key] != value {
			list, keys = append(list, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value}), append(keys, key)
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	said, err := adm.AlterTopicConfigs(ctx, list, topic)
	for _, r := range said {
		if err == nil && r.Err != nil {
			err = fmt.Errorf("%w %s", r.Err, r.ErrMessage)
		}
	}
	if err != nil {
		return keys, fmt.Errorf("set %s=%s and %d more: %w", list[0].Name, *list[0].Value, len(list)-1, err)
	}
	return keys, nil
}

// create makes a topic.
func (s *LogSession) create(ctx context.Context, adm *kadm.Client, topic string, partitions int32) error {
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return err
	}
	replicas := cmp.Or(s.cfg.Replicas, min(mostReplicas, len(brokers)))
	config := make(map[string]*string)
	for _, part := range []map[string]string{must, first, {"min.insync.replicas": strconv.Itoa(insyncOf(replicas))}} {
		for key, value := range part {
			config[key] = &value
		}
	}
	said, err := adm.CreateTopic(ctx, partitions, int16(min(replicas, 1<<10)), config, topic)
	if err == nil {
		err = said.Err
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create it: %w %s", err, said.ErrMessage)
	}
	return nil
}
