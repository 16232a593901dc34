package kafka_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"pingline"
	"pingline/internal/kafkalink/kafkatest"
	"pingline/sink/kafka"
	"pingline/sink/store"
	"pingline/sink/store/storetest"
)

// patience is how long an answer may take on a busy machine.
const patience = 5 * time.Minute

// fake starts a Kafka within this process.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.DefaultNumPartitions(4)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func open(t testing.TB, cfg kafka.Config) *kafka.Topics {
	t.Helper()
	to, err := kafka.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close() })
	return to
}

func file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

var places atomic.Int64

// place is new topics of a cluster that asks for a password.
func place(t *testing.T, seeds []string, reader *kgo.Client) storetest.Place {
	topic := fmt.Sprintf("pings-%d", places.Add(1))
	cfg := kafka.Config{
		URL:          "kafka://" + kafkatest.User + "@" + strings.Join(seeds, ",") + "/" + topic,
		PasswordFile: file(t, kafkatest.Password), CreateTopics: true, Timeout: patience,
	}
	wrong := cfg
	wrong.PasswordFile = file(t, "wrong")
	return storetest.Place{
		Store:    open(t, cfg),
		Intruder: open(t, wrong),
		Points: func(ctx context.Context, name string) (int, error) {
			if name == "" {
				list, err := kafkatest.Read(ctx, reader, topic, topic+".event")
				return len(kafkatest.IDs(list)), err
			}
			list, err := kafkatest.Read(ctx, reader, topic+".activity", topic+".self")
			for _, r := range list {
				var p struct{ Name string }
				if err := json.Unmarshal(r.Value, &p); err != nil {
					return 0, err
				}
				if p.Name != name {
					return 0, fmt.Errorf("a point %s", r.Value)
				}
			}
			return len(kafkatest.IDs(list)), err
		},
		Refuse: func() (pingline.Entry, error) {
			e := storetest.Fleet(99, 1)[0]
			e.Event, e.Device, e.Trip = "sos", strings.Repeat("d", pingline.MaxID), strings.Repeat("t", pingline.MaxID)
			most := "600"
			_, err := kadm.NewClient(reader).CreateTopic(t.Context(), 4, -1, map[string]*string{"max.message.bytes": &most}, topic+".event")
			return e, err
		},
	}
}

// Topics are held to the contract of stores. A row that is written twice has two messages of
// the same id: what is counted are ids.
func TestContract(t *testing.T) {
	c := fake(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", kafkatest.User, kafkatest.Password))
	reader := kafkatest.Client(t, kgo.SeedBrokers(c.ListenAddrs()...), kgo.SASL(plain.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsMechanism()))
	storetest.Run(t, func(t *testing.T) storetest.Place {
		p := place(t, c.ListenAddrs(), reader)
		p.Intruder = nil // kfake ends the connection without an answer
		return p
	})
}

// The same with a real broker, that is killed and frozen.
func TestKafkaContract(t *testing.T) {
	c := kafkatest.Run(t, 1, true)
	reader := c.Client(t)
	storetest.Run(t, func(t *testing.T) storetest.Place {
		p := place(t, c.Seeds, reader)
		p.Kill = func() error { c.Brokers[0].Kill(); return nil }
		p.Restart, p.Freeze, p.Thaw = c.Brokers[0].Restart, c.Brokers[0].Freeze, c.Brokers[0].Thaw
		return p
	})
}

// rowsOf encodes entries.
func rowsOf(to *kafka.Topics, list []pingline.Entry) (r store.Rows) {
	for i := range list {
		r.Bytes = to.AppendRow(r.Bytes, &list[i])
		r.N++
	}
	return r
}
