package queuetest_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kfake"

	"pingline/internal/kafkalink/kafkatest"
	"pingline/queue"
	"pingline/queue/queuetest"
)

var duels = flag.Int("duels", 10, "how many owners of a log are deposed in the middle of appends")

func TestMain(m *testing.M) {
	if queuetest.IsChild() {
		os.Exit(queuetest.RunChild())
	}
	os.Exit(m.Run())
}

func at(url string) func(testing.TB) queue.Config {
	logs := 0
	return func(testing.TB) queue.Config {
		logs++
		return queue.Config{URL: url, Stream: "LOG" + string(rune('A'+logs)), Lease: time.Minute}
	}
}

func TestEmbedded(t *testing.T) {
	s := queuetest.Suite{Config: func(testing.TB) queue.Config { return queue.Config{} }}
	s.Run(t)
	queuetest.Kill(t, queue.Config{})
}

func TestServer(t *testing.T) {
	url := startNATS(t)
	s := queuetest.Suite{Config: at(url), Shared: true, Duels: *duels}
	s.Run(t)
	queuetest.Kill(t, queue.Config{URL: url})
}

// A Kafka in this process.
func TestFakeKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	url := "kafka://" + c.ListenAddrs()[0]
	s := queuetest.Suite{Config: at(url), Shared: true, Duels: *duels}
	s.Run(t)
	queuetest.Kill(t, queue.Config{URL: url})
}

func TestKafka(t *testing.T) {
	url := "kafka://" + kafkatest.Run(t, 1, false).Seeds[0]
	s := queuetest.Suite{Config: at(url), Shared: true, Duels: *duels}
	s.Run(t)
	queuetest.Kill(t, queue.Config{URL: url})
}

func startNATS(t testing.TB) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(queuetest.Patience) {
		t.Fatal("nats-server did not start")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv.ClientURL()
}
