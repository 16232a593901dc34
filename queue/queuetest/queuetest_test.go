package queuetest_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

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

// A Kafka that asks for a user.
func TestKafkaSecured(t *testing.T) {
	c := kafkatest.Run(t, 1, true)
	file := filepath.Join(t.TempDir(), "password")
	open := func(password string) (*queue.Log, error) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		url := fmt.Sprintf("kafka://%s@%s?password-file=%s", kafkatest.User, c.Seeds[0], file)
		return queue.Open(t.Context(), queue.Config{URL: url, Dir: t.TempDir()})
	}
	if _, err := open("wrong-" + kafkatest.Password); err == nil || strings.Contains(err.Error(), kafkatest.Password) {
		t.Errorf("with a wrong password: %v", err)
	}
	l, err := open(kafkatest.Password)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := l.Append(t.Context(), []byte("x"), queue.Totals{}, false); n != 1 || err != nil {
		t.Errorf("Append = %d, %v", n, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Brokers die and come back, one of three at a time, while owners are deposed.
func TestKafkaBrokersDie(t *testing.T) {
	c := kafkatest.Run(t, 3, false)
	cfg := queue.Config{URL: "kafka://" + strings.Join(c.Seeds, ","), Stream: "BROKERS"}
	over, ended := make(chan struct{}), make(chan struct{})
	var died atomic.Int64
	go func() {
		defer close(ended)
		for {
			broker := c.Brokers[rand.IntN(len(c.Brokers))]
			broker.Kill()
			died.Add(1)
			time.Sleep(rand.N(4 * time.Second))
			if err := broker.Restart(); err != nil {
				t.Errorf("broker: %v", err)
				return
			}
			select {
			case <-over:
				return
			case <-time.After(rand.N(4 * time.Second)):
			}
		}
	}()
	s := queuetest.Suite{Config: func(testing.TB) queue.Config { return cfg }, Duels: *duels}
	for died.Load() < 4 && !t.Failed() {
		s.Duel(t)
	}
	close(over)
	<-ended
	t.Logf("%d brokers died", died.Load())
}

// Records that somebody has deleted are damage, not silence.
func TestKafkaRecordsAreDeleted(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := queue.Config{URL: "kafka://" + c.ListenAddrs()[0], Dir: t.TempDir(), CacheBytes: 1, MaxBytes: 64 << 20}
	appended := func(n int) *queue.Log {
		t.Helper()
		l, err := queue.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			next := l.Last() + 1
			if _, err := l.Append(t.Context(), []byte("x"), queue.Totals{next}, false); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	deleted := func(before int64) {
		t.Helper()
		offsets := make(kadm.Offsets)
		offsets.AddOffset("pingline.log", 0, before, -1)
		if said, err := kadm.NewClient(kafkatest.Client(t, kgo.SeedBrokers(c.ListenAddrs()...))).DeleteRecords(t.Context(), offsets); err != nil || said.Error() != nil {
			t.Fatal(err, said.Error())
		}
	}
	shut := func(l *queue.Log) {
		t.Helper()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := appended(10)
	deleted(4)
	r := l.Read(1)
	_, err = r.Next(t.Context())
	var damage *queue.DamageError
	if !errors.As(err, &damage) || damage.From != 1 || damage.To != 4 || damage.Lost[0] != 4 {
		t.Errorf("a reader: %v", err)
	}
	if rec, err := r.Next(t.Context()); err != nil || rec.Number != 5 {
		t.Errorf("a reader goes on at %d, %v", rec.Number, err)
	}
	r.Close()
	shut(l)
	l = appended(2)
	if list := l.Damage(); len(list) != 1 || list[0].From != 1 || list[0].To != 4 || l.First() != 5 || l.Last() != 12 {
		t.Errorf("reopened: %d to %d, damage %v", l.First(), l.Last(), list)
	}
	shut(l)
	deleted(-1) // all
	l = appended(3)
	if list := l.Damage(); len(list) == 0 || list[len(list)-1].To != 12 || l.First() != 13 || l.Last() != 15 {
		t.Errorf("without records: %d to %d, damage %v", l.First(), l.Last(), list)
	}
	shut(l)
	l = appended(0)
	if l.First() != 13 || l.Last() != 15 {
		t.Errorf("reopened: %d to %d", l.First(), l.Last())
	}
	shut(l)
}

// BenchmarkKafkaAppend appends to a broker that syncs as it comes, and one that syncs each message.
func BenchmarkKafkaAppend(b *testing.B) {
	c := kafkatest.Run(b, 1, false)
	for _, bb := range []struct{ name, flush string }{{"not synced", ""}, {"synced", "1"}} {
		for _, size := range []int{1 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d KiB", bb.name, size>>10), func(b *testing.B) {
				cfg := queue.Config{URL: "kafka://" + c.Seeds[0], Stream: "BENCH" + strings.ReplaceAll(bb.name, " ", "-"), Dir: b.TempDir(), MaxBytes: 4 << 30}
				l, err := queue.Open(b.Context(), cfg)
				if err != nil {
					b.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				if bb.flush != "" {
					topic := strings.ToLower(cfg.Stream) + ".log"
					if err := kafkatest.SetTopic(b.Context(), c.Client(b), topic, "flush.messages="+bb.flush); err != nil {
						b.Fatal(err)
					}
				}
				payload := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := l.Append(b.Context(), payload, queue.Totals{}, false); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
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
