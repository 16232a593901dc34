package parts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"pingline/queue"
	"pingline/queue/jetstream"
)

// Of three nodes for two parts each part has one, and the third waits and has the part that is
// let go first, by whichever node.
func TestOneNodeEachPart(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	var nodes []*node
	got := make(chan *node, 3)
	for _, name := range []string{"a", "b", "c"} {
		n := newNode(t, url, name, long).start(t)
		nodes = append(nodes, n)
		go func() { got <- n.ended() }()
	}
	owners := [2]*node{}
	for range owners {
		n := <-got
		part := n.has(t)
		if owners[part] != nil {
			t.Fatalf("part %d belongs to %s and to %s", part, owners[part].cfg.Node, n.cfg.Node)
		}
		owners[part] = n
	}
	var spare *node
	for _, n := range nodes {
		if n != owners[0] && n != owners[1] {
			spare = n
		}
	}
	spare.waits(t, standby(owners[0].cfg.Node, owners[1].cfg.Node))
	for part := range owners {
		n, before := spare, owners[part]
		before.stop(t)
		began := time.Now()
		if got := n.has(t); got != part {
			t.Fatalf("%s has part %d, %s let go part %d", n.cfg.Node, got, before.cfg.Node, part)
		}
		t.Logf("%s has part %d open after %v", n.cfg.Node, part, time.Since(began).Round(time.Millisecond))
		owners[part] = n
		// The one that stopped comes back as the spare one, and is told the names.
		spare = newNode(t, url, before.cfg.Node, long)
		spare.cfg.Dir = before.cfg.Dir
		spare.start(t).waits(t, standby(owners[0].cfg.Node, owners[1].cfg.Node))
	}
}

// ended returns n when its Take has.
func (n *node) ended() *node {
	err := <-n.got
	n.got <- err
	return n
}

// Two nodes that see at the same time that an owner is silent, or has let go, try to take its
// part at the same time: exactly one has it, and the other goes on waiting. Before, both wait
// for longer than a lease, while the owner renews its hold.
func TestTwoWantOnePart(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	part, kill := startOwner(t, url, t.TempDir(), "gone", short)
	other := newNode(t, url, "other", long)
	if err := other.take(testContext(t)); err != nil {
		t.Fatal(err)
	}
	names := []string{"other", "other"}
	names[part] = "gone"
	nodes := [2]*node{newNode(t, url, "a", long), newNode(t, url, "b", long)}
	meet := meeting(2)
	got := make(chan *node, 2)
	for _, n := range nodes {
		n.meet = meet
		n.start(t).waits(t, standby(names...))
	}
	for _, n := range nodes {
		go func() { got <- n.ended() }()
	}
	renewed(t, url, part, 7)
	select {
	case n := <-got:
		t.Fatalf("%s has part %d of a node that lives", n.cfg.Node, n.part)
	default:
	}
	kill()
	for range 2 {
		first := <-got
		if first.has(t) != part {
			t.Fatalf("%s has part %d, want %d", first.cfg.Node, first.part, part)
		}
		second := nodes[0]
		if second == first {
			second = nodes[1]
		}
		names[part] = first.cfg.Node
		second.waits(t, standby(names...))
		// The same again with a node that lets go.
		third := newNode(t, url, first.cfg.Node+"'", long)
		nodes = [2]*node{second, third}
		third.start(t).waits(t, standby(names...))
		go func() { got <- third.ended() }()
		first.stop(t)
	}
}

// meeting returns a function that holds the first n of its callers until they are all there.
func meeting(n int) func(int) {
	var mu sync.Mutex
	all := make(chan struct{})
	return func(int) {
		mu.Lock()
		n--
		if n == 0 {
			close(all)
		}
		mu.Unlock()
		<-all
	}
}

// renewed waits until the owner of a part has renewed its hold n times.
func renewed(t *testing.T, url string, part, n int) {
	t.Helper()
	shelves, err := jetstream.OpenShelves(url, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer shelves.Close()
	var was uint64
	eventually(t, "the owner renews its hold", func() bool {
		o, err := queue.ReadOwner(testContext(t), shelves, fmt.Sprint("PINGLINE-p", part))
		if err != nil || o.Free {
			t.Fatalf("the owner is %+v, %v", o, err)
		}
		if o.Revision != was {
			was = o.Revision
			n--
		}
		return n < 0
	})
}

// A node takes the part whose directory it has, though its name says otherwise, and after a
// crash without waiting for its own lease.
func TestOwnDirectoryComesFirst(t *testing.T) {
	t.Parallel()
	url := startNATS(t, 1).url()
	dir := t.TempDir()
	first, kill := startOwner(t, url, dir, "a", long)
	kill()
	again := newNode(t, url, "renamed", long)
	again.cfg.Dir = dir
	if err := again.take(testContext(t)); err != nil || again.part != first {
		t.Fatalf("after a crash Take = part %d, %v, want %d", again.part, err, first)
	}
	again.stop(t)
	for part := range 2 {
		n := newNode(t, url, "a", long)
		if err := os.MkdirAll(Dir(n.cfg.Dir, part), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := n.take(testContext(t)); err != nil || n.part != part {
			t.Errorf("with the directory of part %d Take = %d, %v", part, n.part, err)
		}
		n.stop(t)
	}
}

// Nodes begin at different parts, so that not all want the first.
func TestNodesBeginAtDifferentParts(t *testing.T) {
	t.Parallel()
	begin := map[int]bool{}
	for i := range 100 {
		c := &choice{cfg: &Config{Node: fmt.Sprint("node-", i), Parts: 4, Dir: filepath.Join(t.TempDir(), "none")}}
		if err := c.arrange(); err != nil || len(c.order) != 4 || c.own != 0 {
			t.Fatalf("the order is %v, of %d own, %v", c.order, c.own, err)
		}
		begin[c.order[0]] = true
	}
	if len(begin) != 4 {
		t.Errorf("100 nodes begin at %v", begin)
	}
}

// Servers that are away for a while do not end the wait, nor count as an owner that is silent.
func TestServersAreAway(t *testing.T) {
	t.Parallel()
	c := startNATS(t, 1)
	a, b := newNode(t, c.url(), "a", long), newNode(t, c.url(), "b", long)
	for _, n := range []*node{a, b} {
		if err := n.take(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"a", "a"}
	names[b.part] = "b"
	spare := newNode(t, c.url(), "c", long).start(t)
	spare.waits(t, standby(names...))

	shelves, err := jetstream.OpenShelves(c.url(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer shelves.Close()
	cfg := Config{URL: c.url(), Parts: 2}
	if err := cfg.setDefaults(2); err != nil {
		t.Fatal(err)
	}
	cfg.Logger = quiet
	l := newPatrol(&cfg, shelves)
	l.every = func(*sight) time.Duration { return time.Minute }
	if err := l.lookAll(testContext(t)); err != nil {
		t.Fatal(err)
	}
	began := l.sights[0].looked
	c.stop(0)
	for range 20 {
		if err := l.lookAll(testContext(t)); err == nil {
			t.Fatal("servers that are away answer")
		}
	}
	if s := l.sights[0]; s.idle != 0 || s.lost() || !s.looked.After(began) {
		t.Errorf("without servers an owner was silent for %v", s.idle)
	}
	c.start(0)
	eventually(t, "the servers answer", func() bool { return l.lookAll(testContext(t)) == nil })
	a.log.SetCursor("reader", queue.Cursor{Next: 1})
	eventually(t, "the owner reaches the servers", func() bool { return a.log.KeepCursors() == nil })
	a.stop(t)
	if got := spare.has(t); got != a.part {
		t.Errorf("the spare node has part %d, want %d", got, a.part)
	}
}

// A part of a cluster is taken while the server that led its streams is gone.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("elections take seconds")
	}
	t.Parallel()
	c := startNATS(t, 3)
	a, b := newNode(t, c.url(), "a", long), newNode(t, c.url(), "b", long)
	for _, n := range []*node{a, b} {
		if err := n.take(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{"a", "a"}
	names[b.part] = "b"
	spare := newNode(t, c.url(), "c", long).start(t)
	spare.waits(t, standby(names...))
	led := fmt.Sprintf("KV_PINGLINE-p%d-own", a.part)
	for i, srv := range c.servers {
		if srv.JetStreamIsStreamLeader("$G", led) {
			c.stop(i)
			break
		}
	}
	eventually(t, "the stream has another leader", func() bool {
		for _, srv := range c.servers {
			if srv.Running() && srv.JetStreamIsStreamLeader("$G", led) {
				return true
			}
		}
		return false
	})
	a.stop(t)
	if got := spare.has(t); got != a.part {
		t.Errorf("the spare node has part %d, want %d", got, a.part)
	}
}

// A node that waits for a part waits for servers that are busy with an election, too, and says so.
func TestElectionAtTheStart(t *testing.T) {
	t.Parallel()
	var said []string
	n := newNode(t, startNATS(t, 1).url(), "a", long)
	n.cfg.Waiting = func(reason string) { said = append(said, reason) }
	tries := 0
	_, err := Take(testContext(t), n.cfg, func(int, queue.Config) error {
		if tries++; tries < 3 {
			return fmt.Errorf("open log: %w", context.DeadlineExceeded)
		}
		return nil
	})
	if want := []string{"standby: the servers of the log are waited for: open log: context deadline exceeded"}; err != nil || tries != 3 || !slices.Equal(said, want) {
		t.Errorf("%v after %d tries, it said %q", err, tries, said)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	if _, err := Take(ctx, n.cfg, func(int, queue.Config) error { cancel(); return context.DeadlineExceeded }); err == nil {
		t.Error("Take goes on though it was told to stop")
	}
}

// Settings with which no part can be had end Take, and say why, without a password.
func TestTakeFails(t *testing.T) {
	t.Parallel()
	c := startNATS(t, 1)
	none := fmt.Sprint("nats://127.0.0.1:", freePort(t))
	locked, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(), Username: "ping", Password: "right",
	})
	if err != nil {
		t.Fatal(err)
	}
	locked.Start()
	t.Cleanup(func() { locked.Shutdown(); locked.WaitForShutdown() })
	if !locked.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	wrong := strings.Replace(locked.ClientURL(), "nats://", "nats://ping:hunter2@", 1)
	for _, tt := range []struct {
		name, url string
		parts     int
		want      string
	}{
		{"a log in the process", queue.Embedded, 2, "--queue=nats://host,host is needed"},
		{"no servers", none, 2, "connect to the log at " + none[len("nats://"):]},
		{"a wrong password", wrong, 2, "Authorization Violation"},
		{"three parts", c.url(), 3, "3 parts: must be a power of two in [2, 64]"},
		{"a single part", c.url(), 1, "1 parts: must be a power of two in [2, 64]"},
		{"too many parts", c.url(), 128, "128 parts: must be"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newNode(t, tt.url, "a", long)
			n.cfg.Parts = tt.parts
			if err := n.take(testContext(t)); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Take = %d, %v, want %s", n.part, err, tt.want)
			}
		})
	}
	broken := errors.New("broken")
	n := newNode(t, c.url(), "a", long)
	if _, err := Take(testContext(t), n.cfg, func(int, queue.Config) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Take = %v, want the error of open", err)
	}
	// A part that others have, as far as open knows, is tried again; then the caller gives up.
	ctx, cancel := context.WithCancelCause(testContext(t))
	tries := 0
	_, err = Take(ctx, n.cfg, func(int, queue.Config) error {
		if tries++; tries == 6 {
			cancel(broken)
		}
		return fmt.Errorf("tried: %w", queue.ErrOwned)
	})
	if !errors.Is(err, broken) || tries < 6 {
		t.Errorf("Take = %v after %d tries, want the cause", err, tries)
	}
}
