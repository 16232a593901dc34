package parts

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/internal/influxd"
	"pingline/queue"
)

const (
	// patience is how long a test waits for an event: no case depends on how long it takes.
	patience = 5 * time.Minute

	// long is a lease that does not end in a test, short that of an owner that is gone.
	long, short = time.Hour, 3 * time.Second

	// childRole is the variable that makes this binary a node that takes a part, until it is killed.
	childRole = "PINGLINE_PARTS_TEST_CHILD"
)

var quiet = slog.New(slog.DiscardHandler)

// A test that needs another process runs this binary again as a child.
func TestMain(m *testing.M) {
	if os.Getenv(childRole) == "" {
		os.Exit(m.Run())
	}
	lease, err := time.ParseDuration(os.Args[4])
	if err == nil {
		n := &node{cfg: Config{URL: os.Args[1], Dir: os.Args[2], Node: os.Args[3], Addr: os.Args[3] + ":1", Lease: lease, Parts: 2, Logger: quiet}}
		err = n.take(context.Background())
		fmt.Println(n.part)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, os.Stdin) // as long as the test lives
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// node is a node that wants a part.
type node struct {
	cfg  Config
	meet func(part int) // nil, or called before a part's log is opened
	log  *queue.Log
	part int
	said chan string // reasons to wait
	got  chan error  // the end of Take
}

// newNode returns a node named name, at the address name:1.
func newNode(t testing.TB, url, name string, lease time.Duration) *node {
	n := &node{said: make(chan string, 1000), got: make(chan error, 1)}
	n.cfg = Config{
		URL: url, Parts: 2, Dir: t.TempDir(), Node: name, Addr: name + ":1", Lease: lease, Logger: quiet,
		Waiting: func(reason string) { n.said <- reason },
	}
	t.Cleanup(func() {
		if n.log != nil {
			_ = n.log.Close()
		}
	})
	return n
}

// take takes a part.
func (n *node) take(ctx context.Context) (err error) {
	n.part, err = Take(ctx, n.cfg, func(part int, q queue.Config) (err error) {
		if n.meet != nil {
			n.meet(part)
		}
		q.Dir, q.MaxBytes = filepath.Join(Dir(n.cfg.Dir, part), "log"), 1<<20
		n.log, err = queue.Open(ctx, q)
		return err
	})
	return err
}

// start takes a part in the background, and has it in got.
func (n *node) start(t testing.TB) *node {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		n.got <- n.take(ctx)
	}()
	return n
}

// has waits until the node has a part, and returns which.
func (n *node) has(t testing.TB) int {
	t.Helper()
	if err := <-n.got; err != nil {
		t.Fatalf("%s: Take: %v", n.cfg.Node, err)
	}
	return n.part
}

// waits waits until the node says that it waits for that reason.
func (n *node) waits(t testing.TB, reason string) {
	t.Helper()
	for limit := time.After(patience); ; {
		select {
		case said := <-n.said:
			if said == reason {
				return
			}
		case err := <-n.got:
			t.Fatalf("%s does not wait: part %d, %v", n.cfg.Node, n.part, err)
		case <-limit:
			t.Fatalf("%s never said: %s", n.cfg.Node, reason)
		}
	}
}

// stop lets the part go.
func (n *node) stop(t testing.TB) {
	t.Helper()
	if err := n.log.Close(); err != nil {
		t.Error(err)
	}
}

// standby is the reason to wait while nodes of these names have the parts.
func standby(names ...string) string {
	return fmt.Sprintf("standby: parts 0 to %d belong to %s", len(names)-1, strings.Join(names, ", "))
}

// startOwner runs a node in a process of its own, and returns its part and what kills it.
func startOwner(t testing.TB, url, dir, name string, lease time.Duration) (part int, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0], url, dir, name, lease.String()) // #nosec G204: this binary
	cmd.Env = append(os.Environ(), childRole+"=own")
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // open as long as this process lives
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	if _, err := fmt.Fscan(out, &part); err != nil {
		t.Fatal(err)
	}
	return part, kill
}

// nats are servers with JetStream, alone or in a cluster of three.
type nats struct {
	t       testing.TB
	options []*server.Options
	servers []*server.Server
}

// startNATS starts n servers. They end with the test.
func startNATS(t testing.TB, n int) *nats {
	t.Helper()
	c := &nats{t: t, servers: make([]*server.Server, n)}
	var routes []*url.URL
	for i := range n {
		o := &server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
		}
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "three", Host: "127.0.0.1", Port: freePort(t)}
			routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", o.Cluster.Port)})
		}
		c.options = append(c.options, o)
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.stop(i)
		}
	})
	for i := range n {
		c.options[i].Routes = routes
		c.start(i)
	}
	if n > 1 {
		eventually(t, "the servers are together", func() bool {
			l, err := queue.Open(testContext(t), queue.Config{Dir: t.TempDir(), URL: c.url(), Stream: "FIRST", MaxBytes: 1 << 20, Replicas: n, Logger: quiet})
			if err == nil {
				err = l.Close()
			}
			return err == nil
		})
	}
	return c
}

func (c *nats) start(i int) {
	c.t.Helper()
	srv, err := server.NewServer(c.options[i].Clone())
	if err != nil {
		c.t.Fatal(err)
	}
	srv.Start()
	c.servers[i] = srv
	if !srv.ReadyForConnections(patience) {
		c.t.Fatal("nats-server did not start")
	}
}

func (c *nats) stop(i int) {
	if srv := c.servers[i]; srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

func (c *nats) url() string {
	var list []string
	for _, o := range c.options {
		list = append(list, fmt.Sprint("nats://127.0.0.1:", o.Port))
	}
	return strings.Join(list, ",")
}

// freePort returns a port that was free just now: a server comes back at the port it had.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := influxd.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually waits until something is so that happens by itself.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for limit := time.Now().Add(patience); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}
