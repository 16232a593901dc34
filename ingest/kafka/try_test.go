package kafka_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"pingline/ingest/kafka"
	"pingline/internal/kafkalink/kafkatest"
)

// Before any message is taken an operator is told whether the topic is there and may be read, and
// whether the group may be joined.
func TestTry(t *testing.T) {
	rights := func(kind kmsg.ACLResourceType, name string, may kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kind, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: may, Allow: true}
	}
	topic, group := kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup
	for _, tt := range []struct {
		name     string
		password string
		topic    string
		rights   []kfake.ACL
		want     string // of each check: what was asked, and = if it is well
		says     string // of the last
	}{
		{"all is well", kafkatest.Password, "pings", []kfake.ACL{rights(topic, "pings", kmsg.ACLOperationRead), rights(group, "phones", kmsg.ACLOperationRead)}, "reachable= topic pings= group phones=", ""},
		{"no topic", kafkatest.Password, "none", []kfake.ACL{rights(topic, "none", kmsg.ACLOperationRead)}, "reachable= topic none", "make the topic"},
		{"no right to the topic", kafkatest.Password, "pings", nil, "reachable= topic pings", "let the user Read"},
		{"a topic that may be written alone", kafkatest.Password, "pings", []kfake.ACL{rights(topic, "pings", kmsg.ACLOperationWrite)}, "reachable= topic pings", "let the user Read"},
		{"no right to the group", kafkatest.Password, "pings", []kfake.ACL{rights(topic, "pings", kmsg.ACLOperationRead)}, "reachable= topic pings= group phones", "?group=NAME"},
		{"a group that may be looked at alone", kafkatest.Password, "pings", []kfake.ACL{rights(topic, "pings", kmsg.ACLOperationRead), rights(group, "phones", kmsg.ACLOperationDescribe)}, "reachable= topic pings= group phones", "?group=NAME"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "pings"), kfake.EnableSASL(), kfake.EnableACLs(),
				kfake.Superuser("PLAIN", "root", "secret"), kfake.User("PLAIN", kafkatest.User, kafkatest.Password, tt.rights...))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			root := kafkatest.Client(t, kgo.SeedBrokers(c.ListenAddrs()...), kgo.SASL(plain.Auth{User: "root", Pass: "secret"}.AsMechanism()))
			if strings.HasPrefix(tt.name, "a group") { // else it is not there yet
				made := kadm.Offsets{}
				made.AddOffset("pings", 0, 0, -1)
				if err := kadm.NewClient(root).CommitAllOffsets(t.Context(), "phones", made); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(file, []byte(tt.password), 0o600); err != nil {
				t.Fatal(err)
			}
			of := kafka.Topic{URL: fmt.Sprintf("kafka://%s@%s/%s?group=phones", kafkatest.User, strings.Join(c.ListenAddrs(), ","), tt.topic), PasswordFile: file}
			list := of.Try(t.Context())
			var got []string
			for _, f := range list {
				if f.Remedy == "" {
					f.What += "="
				}
				got = append(got, f.What)
				if strings.Contains(f.Found+f.Remedy, "\n") || strings.Contains(f.Found+f.Remedy, kafkatest.Password) {
					t.Errorf("%+v", f)
				}
			}
			if last := list[len(list)-1]; strings.Join(got, " ") != tt.want || !strings.Contains(last.Remedy, tt.says) {
				t.Errorf("%+v, want %s, the last %q", list, tt.want, tt.says)
			}
		})
	}
	dead := kafka.Topic{URL: "kafka://127.0.0.1:1/pings"}
	if list := dead.Try(t.Context()); len(list) != 1 || list[0].Remedy == "" {
		t.Errorf("%+v", list)
	}
}

// A real broker says so, too.
func TestKafkaTry(t *testing.T) {
	c := kafkatest.Run(t, 1, true)
	file := filepath.Join(t.TempDir(), "password")
	try := func(password, topic string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		of := kafka.Topic{URL: fmt.Sprintf("kafka://%s@%s/%s", kafkatest.User, strings.Join(c.Seeds, ","), topic), PasswordFile: file}
		return fmt.Sprintf("%+v", of.Try(t.Context()))
	}
	if said := try("wrong", "phones"); !strings.Contains(said, "correct the user in --kafka-in") {
		t.Error(said)
	}
	if said := try(kafkatest.Password, "phones"); !strings.Contains(said, "What:topic phones Found:is not there Remedy:make the topic") {
		t.Error(said)
	}
	if _, err := kadm.NewClient(c.Client(t)).CreateTopic(t.Context(), 2, 1, nil, "phones"); err != nil {
		t.Fatal(err)
	}
	if said := try(kafkatest.Password, "phones"); !strings.Contains(said, "has 2 partitions, and may be read Remedy:}") || !strings.Contains(said, "What:group pingline Found:is not there yet") {
		t.Error(said)
	}
}
