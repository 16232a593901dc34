package main

import (
	"io"
	"net"
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

// gateway is an address behind which one process stands for another.
type gateway struct {
	ln net.Listener

	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func newGateway(t *testing.T, url string) *gateway {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{ln: ln}
	g.leadTo(url)
	t.Cleanup(func() { _ = ln.Close(); g.leadTo("") })
	go func() {
		for client, err := ln.Accept(); err == nil; client, err = ln.Accept() {
			g.mu.Lock()
			if server, err := net.Dial("tcp", g.to); err == nil {
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

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

func (g *gateway) url() string { return "http://" + g.ln.Addr().String() }

// leadTo has all who come from now on led to url; those who are there are cut off.
func (g *gateway) leadTo(url string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.to, g.conns = strings.TrimPrefix(url, "http://"), nil
}
