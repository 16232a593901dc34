package queue

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"pingline/internal/influxd"

	"github.com/nats-io/nats-server/v2/server"
)

// cluster is three servers that hold a stream together.
type cluster struct {
	t       testing.TB
	servers [3]*server.Server
	options [3]*server.Options
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []*url.URL
	for i := range c.servers {
		c.options[i] = &server.Options{
			ServerName: fmt.Sprint("n", i),
			Host:       "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: freePort(t)},
		}
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", c.options[i].Cluster.Port)})
	}
	for i := range c.servers {
		c.options[i].Routes = routes
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	eventually(t, "the servers are together", func() bool {
		l, err := Open(testContext(t), Config{Dir: t.TempDir(), URL: c.url(), Stream: "FIRST", Logger: slog.New(slog.DiscardHandler)})
		if err == nil {
			shut(t, l)
		}
		return err == nil
	})
	return c
}

// freePort returns a port that was free just now: the servers of a cluster know
// one another's before they start.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (c *cluster) start(i int) {
	c.t.Helper()
	srv, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		c.t.Fatal("nats-server did not start")
	}
	c.servers[i] = srv
}

func (c *cluster) stop(i int) {
	c.servers[i].Shutdown()
	c.servers[i].WaitForShutdown()
}

// leader returns which server leads the stream, or -1.
func (c *cluster) leader(stream string) int {
	for i, srv := range c.servers {
		if srv.JetStreamIsStreamLeader("$G", stream) {
			return i
		}
	}
	return -1
}

func (c *cluster) url() string {
	var list []string
	for _, srv := range c.servers {
		list = append(list, srv.ClientURL())
	}
	return strings.Join(list, ",")
}

// The stream's leader goes, and comes back: what was acknowledged is there, in
// one history, and readers miss nothing.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("elections take seconds")
	}
	t.Parallel()
	c := startCluster(t)
	l := open(t, Config{URL: c.url(), CacheBytes: 1})
	info, err := rawStream(t, l, l.cfg.Stream).Info(testContext(t))
	if err != nil || info.Config.Replicas != 3 {
		t.Fatalf("a stream of %d replicas, %v, want 3", info.Config.Replicas, err)
	}
	seen := follow(t, l)
	acked := map[uint64]string{}
	add := func(text string) {
		t.Helper()
		n, err := l.Append(testContext(t), []byte(text), totals(l.Last()+1), false)
		for err != nil {
			if _, _, err = l.Settle(testContext(t), []byte("settled")); err != nil {
				t.Fatal(err)
			}
			n, err = l.Append(testContext(t), []byte(text), totals(l.Last()+1), false)
		}
		acked[n] = text
	}
	for round := range 2 {
		for i := range 30 {
			add(fmt.Sprint("before ", round, i))
		}
		leader := c.leader(l.cfg.Stream)
		if leader < 0 {
			t.Fatal("nobody leads the stream")
		}
		c.stop(leader)
		for i := range 30 {
			add(fmt.Sprint("without ", round, i))
		}
		c.start(leader)
		add("again")
	}
	for n := uint64(1); n <= l.Last(); n++ {
		rec := <-seen
		want, ok := acked[n]
		if rec.Number != n || ok && string(rec.Payload) != want {
			t.Fatalf("a reader saw record %d, %q, want %d, %q", rec.Number, rec.Payload, n, want)
		}
	}
	if got := len(history(t, l)); got != int(l.Last()) {
		t.Errorf("%d records, want %d", got, l.Last())
	}
	checkTold(t, "Damage", l.Damage(), nil)
	accounted(t, l)
	shut(t, l)
}
