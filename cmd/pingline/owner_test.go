package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS runs a server with JetStream until the test ends, and returns its URL.
func startNATS(t *testing.T) string {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		t.Fatal("nats-server did not start")
	}
	t.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	return srv.ClientURL()
}

// A second node on one log is refused at its start, with the name of the first;
// so is one of the same name. The first goes on.
func TestSecondNode(t *testing.T) {
	influx, nats := startInflux(t), startNATS(t)
	dir, args := t.TempDir(), []string{"--queue=" + nats, "--node=first"}
	first := serve(t, dir, influx.URL(), args...)
	tr := driveOften(t, first.url, 2000)
	tr.more(2000)
	for _, name := range []string{"second", "first"} {
		status, text := exits(t, "serve", "--data-dir="+t.TempDir(), "--influx-host="+influx.URL(), "--queue="+nats, "--node="+name,
			"--listen=127.0.0.1:0", "--ops-listen=")
		if status != exitUsage || !strings.Contains(text, "the log belongs to another node: first") {
			t.Errorf("node %s: status %d, %s", name, status, text)
		}
	}
	tr.more(2000)
	tr.stop()
	first.settled()
	if n, err := first.metric("pingline_reloads_total"); err != nil || n != 0 {
		t.Errorf("the first has read its state anew %v times (%v)", n, err)
	}
	restartAndAudit(t, first, tr, dir, influx.URL(), args...)
}

// A node is killed: the next one, of another name and on another disk, takes the
// log over when the lease is out, and nothing that was answered is missing.
func TestNodeKilled(t *testing.T) {
	influx, nats, dir := startInflux(t), startNATS(t), t.TempDir()
	args := []string{"--queue=" + nats, "--queue-lease=1s", "--listen=" + freePort(t)}
	first := serve(t, t.TempDir(), influx.URL(), append(args, "--node=first")...)
	tr := driveOften(t, first.url, 2000)
	tr.more(4000)
	first.kill()
	args = append(args, "--node=second")
	second := serve(t, dir, influx.URL(), args...)
	tr.more(4000)
	tr.stop()
	second.settled()
	dropsSome(t, restartAndAudit(t, second, tr, dir, influx.URL(), args...))
}

// A node is suspended under load for longer than its lease, and another takes the
// log over. When the first goes on, in the middle of whatever it did, it ends and
// says why; nothing that either has answered is missing.
func TestNodePaused(t *testing.T) {
	influx, nats, dir := startInflux(t), startNATS(t), t.TempDir()
	args := []string{"--queue=" + nats, "--queue-lease=1s"}
	first := serve(t, t.TempDir(), influx.URL(), append(args, "--node=first")...)
	gate := newGateway(t, first.url)
	tr := driveOften(t, gate.url(), 2000)
	tr.more(4000)
	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	args = append(args, "--node=second")
	second := serve(t, dir, influx.URL(), args...)
	gate.leadTo(second.url)
	tr.more(4000)
	if err := first.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first.exited:
	case <-time.After(patience):
		t.Fatal("the first does not end")
	}
	if status := first.cmd.ProcessState.ExitCode(); status != exitFailed || !strings.Contains(first.said(), "the log belongs to another node: second") {
		t.Errorf("the first ended with status %d", status)
	}
	tr.more(4000)
	tr.stop()
	second.settled()
	if n, err := second.metric("pingline_queue_damage_total"); err != nil || n != 0 {
		t.Errorf("%v commits are lost (%v)", n, err)
	}
	dropsSome(t, restartAndAudit(t, second, tr, dir, influx.URL(), args...))
}

// Nodes wait on standby for the log of another, on disks of their own. The next has it at once
// when its owner stops in order, and after the lease when that is killed. Each goes on where the
// last was: all that was answered is there, little is written twice, and the roll-up counts
// each ping once, as a single node.
func TestStandby(t *testing.T) {
	beside(t)
	influx, nats, dir := startInflux(t), startNATS(t), t.TempDir()
	rollup := []string{"--rollup=8", "--rollup-windows=10s"}
	at := map[string]string{"a": freePort(t), "b": freePort(t), "c": freePort(t)}
	node := func(name, dir string) *process {
		return begin(t, dir, influx.URL(), "--queue="+nats, "--queue-lease=2s", "--standby", "--node="+name, "--listen="+at[name],
			rollup[0], rollup[1])
	}
	waits := func(name, whom string) {
		t.Helper()
		want := `{"ready":false,"reason":"standby: the log belongs to ` + whom + `, since `
		eventually(t, name+" waits for "+whom, func() bool {
			status, text := probe(t, "http://"+at[name]+"/readyz")
			return status == http.StatusServiceUnavailable && strings.HasPrefix(text, want)
		})
	}
	a := node("a", t.TempDir())
	a.takesPings()
	dirB := t.TempDir()
	b := node("b", dirB)
	waits("b", "a")
	if status, text := probe(t, "http://"+at["b"]+"/healthz"); status != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d %q", status, text)
	}
	gate := newGateway(t, a.url)
	tr := driveOften(t, gate.url(), 2000)
	tr.more(4000)
	readsAlong := func(name string) {
		eventually(t, name+" reads the log along", func() bool {
			_, text := probe(t, "http://"+at[name]+"/readyz")
			return strings.Contains(text, `"notes":["warm: the log PINGLINE is read along`)
		})
	}
	readsAlong("b")
	if status := a.terminate(); status != exitOK {
		t.Errorf("a ended with status %d", status)
	}
	stopped := time.Now()
	b.takesPings()
	began := time.Now()
	t.Logf("b has the log %v after a has ended", began.Sub(stopped))
	const warm = "the state of the filter was read along"
	if !strings.Contains(b.said(), warm) {
		t.Error("b has not read the log of a along")
	}
	gate.leadTo(b.url)
	c := node("c", dir)
	waits("c", "b")
	tr.more(4000)
	eventually(t, "b writes", func() bool { n, err := b.metric(`pingline_written_total{shard="a"}`); return err == nil && n > 0 })
	written, err := b.metric(`pingline_written_total{shard="a"}`)
	if err != nil {
		t.Fatal(err)
	}
	readsAlong("c")
	b.kill()
	killed := time.Now()
	c.takesPings()
	t.Logf("b had the log for %v, c has it %v after b was killed", killed.Sub(began), time.Since(killed))
	if !strings.Contains(c.said(), warm) {
		t.Error("c has not read the log of b along")
	}
	gate.leadTo(c.url)
	tr.more(4000)
	tr.stop()
	c.settled()
	after, err := c.metric(`pingline_written_total{shard="a"}`)
	if err != nil {
		t.Fatal(err)
	}
	report := restartAndAudit(t, c, tr, dir, influx.URL(), "--queue="+nats, "--node=c", rollup[0], rollup[1])
	dropsSome(t, report)
	t.Logf("%d points are stored; b wrote %v before its end, c %v", report.Stored, written, after)
	if after > float64(report.Stored)/2 {
		t.Errorf("c wrote %v of %d points: it did not go on where b was", after, report.Stored)
	}
	var rows []map[string]any
	eventually(t, "the roll-up has counted each ping once, for the node that had the log first", func() bool {
		rows = ask(t, influx.URL(), "SELECT sum(pings) AS n FROM cell_activity GROUP BY node")
		return len(rows) == 1 && rows[0]["node"] == "a" && fmt.Sprint(rows[0]["n"]) == fmt.Sprint(report.Checked)
	})
}

func probe(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// gateway is an address behind which one process stands for another, or several take turns.
type gateway struct {
	ln net.Listener

	mu    sync.Mutex
	to    []string
	turn  int
	conns []net.Conn
}

func newGateway(t *testing.T, urls ...string) *gateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{ln: ln}
	g.leadTo(urls...)
	t.Cleanup(func() { _ = ln.Close(); g.leadTo() })
	go func() {
		for client, err := ln.Accept(); err == nil; client, err = ln.Accept() {
			g.mu.Lock()
			if server, err := g.dial(); err == nil {
				g.conns = append(g.conns, client, server)
				go pass(client, server)
				go pass(server, client)
			} else {
				_ = client.Close()
			}
			g.mu.Unlock()
		}
	}()
	return g
}

// dial calls the process whose turn it is. The caller holds mu.
func (g *gateway) dial() (net.Conn, error) {
	if len(g.to) == 0 {
		return nil, net.ErrClosed
	}
	g.turn++
	return net.Dial("tcp", g.to[g.turn%len(g.to)])
}

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

func (g *gateway) url() string { return "http://" + g.ln.Addr().String() }

// leadTo has all who come from now on led to urls in turn; those who are there are cut off.
func (g *gateway) leadTo(urls ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.to, g.conns = nil, nil
	for _, url := range urls {
		g.to = append(g.to, strings.TrimPrefix(url, "http://"))
	}
}
