// Package kafkatest runs a Kafka for tests, of one broker or of several, and reads topics back.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"pingline/internal/jvm"
)

// The only user of a cluster that asks for one.
const (
	User     = "pingline"
	Password = "hunter2-of-kafka"
)

// Cluster is a Kafka of several processes. Its topics have four partitions, a replica on each
// broker, and at least two in-sync replicas if there are three.
type Cluster struct {
	Seeds   []string
	Brokers []*jvm.Process
	secured bool
}

const properties = `process.roles=broker,controller
node.id=NODE
controller.quorum.voters=VOTERS
listeners=OUTSIDE://ADDRESS,CTRL://127.0.0.1:CONTROL
advertised.listeners=OUTSIDE://ADDRESS
listener.security.protocol.map=OUTSIDE:PROTOCOL,CTRL:PLAINTEXT
controller.listener.names=CTRL
inter.broker.listener.name=OUTSIDE
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.outside.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="USER" password="PASSWORD" user_USER="PASSWORD";
log.dirs=DIR
num.partitions=4
default.replication.factor=REPLICAS
min.insync.replicas=INSYNC
offsets.topic.replication.factor=REPLICAS
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=REPLICAS
transaction.state.log.min.isr=INSYNC
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=REPLICAS
share.coordinator.state.topic.min.isr=INSYNC
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=1000
controller.quorum.fetch.timeout.ms=2000
`

// Run starts a cluster for as long as t. With secured, it asks for User and Password by SASL.
func Run(t testing.TB, brokers int, secured bool) *Cluster {
	t.Helper()
	jvm.Need(t, "kafka")
	ports := freePorts(t, 2*brokers)
	c := &Cluster{secured: secured}
	var voters []string
	for i := range brokers {
		c.Seeds = append(c.Seeds, fmt.Sprintf("127.0.0.1:%d", ports[2*i]))
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[2*i+1]))
	}
	started := make(chan bool, brokers)
	for i := range brokers {
		dir := t.TempDir()
		file := filepath.Join(dir, "server.properties")
		protocol := "PLAINTEXT"
		if secured {
			protocol = "SASL_PLAINTEXT"
		}
		text := strings.NewReplacer(
			"NODE", fmt.Sprint(i+1), "VOTERS", strings.Join(voters, ","), "ADDRESS", c.Seeds[i], "CONTROL", fmt.Sprint(ports[2*i+1]), "PROTOCOL", protocol,
			"USER", User, "PASSWORD", Password, "DIR", filepath.Join(dir, "data"), "REPLICAS", fmt.Sprint(brokers), "INSYNC", fmt.Sprint(min(2, brokers)),
		).Replace(properties)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		small := []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
		jvm.Run(t, jvm.Java{Jars: "kafka", JVM: append(small, "-Xmx128m"), Main: "kafka.tools.StorageTool", Args: []string{"format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", file}})
		broker := jvm.Java{Jars: "kafka", JVM: append(small, "-Xms128m", "-Xmx384m"), Main: "kafka.Kafka", Args: []string{file}, Ready: func() error { return c.answers(i) }}
		if brokers == 1 {
			c.Brokers = append(c.Brokers, jvm.Start(t, broker))
			return c
		}
		c.Brokers = append(c.Brokers, nil)
		go func() { // none is ready before most are there
			defer func() { started <- true }()
			c.Brokers[i] = jvm.Start(t, broker)
		}()
	}
	for range brokers {
		<-started
	}
	if slices.Contains(c.Brokers, nil) {
		t.Fatal("a broker has not started")
	}
	return c
}

// Here reports whether there are jars to run a Kafka with.
func Here() bool { return os.Getenv(jvm.Env) != "" }

// answers returns nil once broker i serves requests.
func (c *Cluster) answers(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), jvm.Patience)
	defer cancel()
	cl, err := kgo.NewClient(append(c.options(), kgo.SeedBrokers(c.Seeds[i]), kgo.RequestRetries(0))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	list, err := kadm.NewClient(cl).ListBrokers(ctx)
	if err == nil && len(list) == 0 {
		err = errors.New("no broker is registered")
	}
	return err
}

func (c *Cluster) options() []kgo.Opt {
	if c.secured {
		return []kgo.Opt{kgo.SeedBrokers(c.Seeds...), kgo.SASL(plain.Auth{User: User, Pass: Password}.AsMechanism())}
	}
	return []kgo.Opt{kgo.SeedBrokers(c.Seeds...)}
}

// Client returns a client of the cluster.
func (c *Cluster) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	return Client(t, append(c.options(), opts...)...)
}

// Client returns a client that is closed with t.
func Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func freePorts(t testing.TB, n int) (list []int) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ln.Close() }() // all are taken first
		list = append(list, ln.Addr().(*net.TCPAddr).Port)
	}
	return list
}

// Read returns all messages that topics have now, those of a partition in order. A topic that
// does not exist has none.
func Read(ctx context.Context, cl *kgo.Client, topics ...string) (list []*kgo.Record, err error) {
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, err
	}
	from, left := map[string]map[int32]kgo.Offset{}, 0
	to := map[string]map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && o.Offset > 0 {
			if from[o.Topic] == nil {
				from[o.Topic], to[o.Topic] = map[int32]kgo.Offset{}, map[int32]int64{}
			}
			from[o.Topic][o.Partition], to[o.Topic][o.Partition] = kgo.NewOffset().At(0), o.Offset
			left++
		}
	})
	if left == 0 {
		return nil, nil
	}
	cl.AddConsumePartitions(from)
	defer func() {
		all := map[string][]int32{}
		for topic, partitions := range from {
			all[topic] = slices.Collect(maps.Keys(partitions))
		}
		cl.RemoveConsumePartitions(all)
	}()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		fetches.EachRecord(func(r *kgo.Record) {
			switch end := to[r.Topic][r.Partition]; {
			case r.Offset < end:
				list = append(list, r)
			}
			if r.Offset == to[r.Topic][r.Partition]-1 {
				left--
			}
		})
	}
	return list, nil
}

// IDs returns the number of messages of each header id.
func IDs(list []*kgo.Record) map[string]int {
	ids := make(map[string]int)
	for _, r := range list {
		for _, h := range r.Headers {
			if h.Key == "id" {
				ids[string(h.Value)]++
			}
		}
	}
	return ids
}

// SetTopic sets a setting of a topic, of the form name=value.
func SetTopic(ctx context.Context, cl *kgo.Client, topic, setting string) error {
	name, value, _ := strings.Cut(setting, "=")
	said, err := kadm.NewClient(cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: name, Value: &value}}, topic)
	if err == nil && len(said) == 1 {
		err = said[0].Err
	}
	return err
}
