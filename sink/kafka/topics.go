// Package kafka sends pings and points as messages to topics of a Kafka, one topic a kind.
//
// A message counts once all in-sync replicas have it (acks=all). The producer is idempotent,
// and a write whose end is not known is waited for by the next attempt, not made again: while
// the process lives, a row that is tried many times is one message. A row that is written again
// by another process, or after other rows were refused by the broker, is another message with
// the same header id, by which its readers know it. Messages of a rider are in one partition,
// in the order of their writes.
//
// A topic cannot be queried. The package makes topics that are missing, if it may, and never
// changes one.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pingline"
	"pingline/internal/kafkalink"
	"pingline/sink/store"
)

// Config says where the topics are and how to get in. URL is required.
type Config struct {
	// URL is kafka://user@host:9092,host:9092/topic, or kafkas://… for TLS. Behind ? it
	// may have Options.
	URL string

	PasswordFile string        // of the user, read for each connection
	Timeout      time.Duration // of a question to the cluster; 0 means 10 s
	CreateTopics bool          // make topics that are missing

	CAFile            string // PEM, authorities that may sign the brokers' certificates; "" means the system's
	CertFile, KeyFile string // PEM, our client certificate; "" means without
	Logger            *slog.Logger
}

// Options are the options that a URL may have, besides sasl.
var Options = []string{optionPartitions, optionReplicas, optionCompression, kafkalink.OptionFormat}

const (
	optionPartitions  = "partitions"
	optionReplicas    = "replicas"
	optionCompression = "compression"
)

// Topics are the topics of a shard. Safe for concurrent use. No error of it contains the
// password.
type Topics struct {
	cfg        Config
	link       *kafkalink.Brokers
	partitions int32 // of new topics; -1: as the brokers have it
	replicas   int16
	codec      []kgo.CompressionCodec
	protobuf   bool // messages are Protobuf, else JSON
	begin      sync.Once
	client     *kgo.Client // nil until begin

	// mu guards the fields below. The mutex of a delivery is taken behind it.
	mu         sync.Mutex
	known      map[string]topicFacts
	deliveries []*delivery   // of unknown end, or not asked for yet, the oldest first
	bytes      int           // of their rows
	most       int           // that bytes may be: maxBytes, but in tests
	linger     time.Duration // linger, but in tests
}

// topicFacts are the facts of a topic.
type topicFacts struct {
	partitions, replicas int
	most                 int    // bytes of a batch
	insync               string // min.insync.replicas; "" if it is not told
}

var (
	_ store.Store     = (*Topics)(nil)
	_ store.Checker   = (*Topics)(nil)
	_ store.Sequencer = (*Topics)(nil)
)

// ConfigFault names a field of a Config that is not valid, and says why. It quotes no
// credentials.
type ConfigFault struct {
	Field string // such as URL
	Err   error
}

func (e *ConfigFault) Error() string { return "kafka: " + e.Field + ": " + e.Err.Error() }

func (e *ConfigFault) Unwrap() error { return e.Err }

// New returns the topics cfg names, or a *ConfigFault. It does not connect.
func New(cfg Config) (*Topics, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	t := &Topics{cfg: cfg, known: make(map[string]topicFacts), most: maxBytes, linger: linger}
	wrong := func(field, format string, args ...any) (*Topics, error) {
		return nil, &ConfigFault{field, fmt.Errorf(format, args...)}
	}
	var err error
	if t.link, err = kafkalink.Parse(cfg.URL, Options...); err == nil {
		err = t.options()
	}
	switch {
	case err != nil:
		return wrong("URL", "%w", err)
	case cfg.Timeout < 0:
		return wrong("Timeout", "%v is negative", cfg.Timeout)
	case (cfg.CAFile != "" || cfg.CertFile != "") && !t.link.TLS:
		return wrong("CAFile", "takes TLS: kafkas://")
	case cfg.CertFile != "" && cfg.KeyFile == "":
		return wrong("CertFile", "a certificate needs its key")
	case cfg.CertFile == "" && cfg.KeyFile != "":
		return wrong("KeyFile", "a key needs its certificate")
	case (cfg.PasswordFile == "") != (t.link.User == ""):
		return wrong("PasswordFile", "a user and a file with the password belong together: kafka://USER@HOST")
	}
	t.link.PasswordFile, t.link.CAFile, t.link.CertFile, t.link.KeyFile = cfg.PasswordFile, cfg.CAFile, cfg.CertFile, cfg.KeyFile
	return t, nil
}

func (t *Topics) options() error {
	if len(t.link.Topic)+longestSuffix > kafkalink.MaxTopic {
		return fmt.Errorf("topic: %d bytes, more than %d", len(t.link.Topic), kafkalink.MaxTopic-longestSuffix)
	}
	count := func(key string, most int) (int, error) {
		text, given := t.link.Options[key]
		if !given {
			return -1, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return 0, fmt.Errorf("%s=%.32s is not in [1, %d]", key, text, most)
		}
		return n, nil
	}
	partitions, err := count(optionPartitions, 10_000)
	if err != nil {
		return err
	}
	replicas, err := count(optionReplicas, 100)
	if err != nil {
		return err
	}
	t.partitions, t.replicas = int32(partitions), int16(replicas)
	codecs := map[string][]kgo.CompressionCodec{
		"":       {kgo.SnappyCompression(), kgo.NoCompression()},
		"snappy": {kgo.SnappyCompression()}, "lz4": {kgo.Lz4Compression()}, "zstd": {kgo.ZstdCompression()}, "gzip": {kgo.GzipCompression()}, "none": {kgo.NoCompression()},
	}
	var ok bool
	if t.codec, ok = codecs[t.link.Options[optionCompression]]; !ok {
		delete(codecs, "")
		return fmt.Errorf("compression=%.32s is none of %s", t.link.Options[optionCompression], strings.Join(slices.Sorted(maps.Keys(codecs)), ", "))
	}
	t.protobuf, err = t.link.Protobuf()
	return err
}

// topic returns the topic of a kind of row.
func (t *Topics) topic(kind byte) string { return t.link.Topic + suffixes[kind] }

// usualBatch bounds a batch of messages, in bytes before compression: that is the brokers'
// own default, and a topic that says less gets less.
const usualBatch = 1_000_012

// leastBatch is the least that a client takes.
const leastBatch = 512

// open returns the client. The producer's name at the brokers lives as long as the client.
func (t *Topics) open() *kgo.Client {
	t.begin.Do(func() {
		opts := append(t.link.Client(),
			kgo.RequiredAcks(kgo.AllISRAcks()),
			kgo.ProducerBatchCompression(t.codec...),
			kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return int32(t.factsOf(topic).most) }),
			kgo.ProducerLinger(t.linger),
			kgo.MaxBufferedRecords(1<<30), // deliveries are bounded by their bytes
			kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
			kgo.MetadataMinAge(250*time.Millisecond),
		)
		var err error
		if t.client, err = kgo.NewClient(opts...); err != nil {
			panic(fmt.Sprintf("kafka: options of a client: %v", err)) // all are constants, or checked by New
		}
	})
	return t.client
}

// linger is how long a batch waits for more messages while a write hands over its rows, which takes
// a ms or more: the brokers are to work on the first of them meanwhile. Once all are handed over,
// none waits.
const linger = 200 * time.Microsecond

func (t *Topics) factsOf(topic string) topicFacts {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.known[topic]; ok {
		return f
	}
	return topicFacts{most: usualBatch}
}

// Close lets go of connections. Rows of unknown end may be stored or not.
func (t *Topics) Close() error {
	t.begin.Do(func() {}) // no client any more
	if t.client != nil {
		t.client.Close()
	}
	return nil
}

// Sequential reports that a batch is written only behind the one before it: a log keeps the
// order in which rows come.
func (t *Topics) Sequential() bool { return true }

// AppendRow appends e as a message: see row.go.
func (t *Topics) AppendRow(dst []byte, e *pingline.Entry) []byte {
	return appendRow(dst, e, t.protobuf)
}

// ready returns nil once all topics are known to be there, and makes those that are missing, if
// it may.
func (t *Topics) ready(ctx context.Context, topics []string) error {
	t.mu.Lock()
	missing := slices.DeleteFunc(slices.Clone(topics), func(name string) bool { _, ok := t.known[name]; return ok })
	t.mu.Unlock()
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.cfg.Timeout, fmt.Errorf("no answer within %v", t.cfg.Timeout))
	defer cancel()
	err := t.find(ctx, missing)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (t *Topics) find(ctx context.Context, topics []string) error {
	adm := kadm.NewClient(t.open())
	made := false
	for {
		found, err := adm.ListTopics(ctx, topics...)
		if err != nil {
			return err
		}
		var absent []string
		for _, topic := range topics {
			switch d, ok := found[topic]; {
			case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
				absent = append(absent, topic)
			case d.Err != nil:
				return fmt.Errorf("topic %s: %w", topic, d.Err)
			}
		}
		switch {
		case len(absent) == 0:
			t.learn(ctx, adm, found)
			return nil
		case !t.cfg.CreateTopics:
			return fmt.Errorf("topic %s: %w", absent[0], kerr.UnknownTopicOrPartition)
		case !made:
			if err := t.make(ctx, adm, absent); err != nil {
				return err
			}
			made = true
		}
		select { // brokers learn of a new topic one by one
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *Topics) make(ctx context.Context, adm *kadm.Client, topics []string) error {
	results, err := adm.CreateTopics(ctx, t.partitions, t.replicas, nil, topics...)
	if err != nil {
		return err
	}
	for _, r := range results.Sorted() {
		switch {
		case r.Err == nil:
			t.cfg.Logger.Info("made a topic of Kafka", "topic", r.Topic, "partitions", r.NumPartitions, "replicas", r.ReplicationFactor)
		case !errors.Is(r.Err, kerr.TopicAlreadyExists):
			return fmt.Errorf("make topic %s: %w %s", r.Topic, r.Err, r.ErrMessage)
		}
	}
	return nil
}

// learn notes facts about topics. A user who may not ask for settings is taken to have the usual
// ones.
func (t *Topics) learn(ctx context.Context, adm *kadm.Client, found kadm.TopicDetails) {
	settings, err := adm.DescribeTopicConfigs(ctx, found.Names()...)
	if err != nil {
		settings = nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, d := range found {
		f := topicFacts{partitions: len(d.Partitions), replicas: d.Partitions.NumReplicas(), most: usualBatch}
		for _, s := range settings {
			for _, c := range s.Configs {
				if s.Name != topic || s.Err != nil || c.Value == nil {
					continue
				}
				switch n, err := strconv.Atoi(*c.Value); {
				case c.Key == "max.message.bytes" && err == nil:
					f.most = min(max(n, leastBatch), usualBatch)
				case c.Key == "min.insync.replicas":
					f.insync = *c.Value
				}
			}
		}
		t.known[topic] = f
	}
}

// doubt has topics looked at anew before the next write.
func (t *Topics) doubt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.known)
}
