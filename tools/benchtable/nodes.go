package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pingline/internal/natsd"
	"pingline/internal/pause"
	"pingline/internal/unit"
)

// installation is a server that is measured: a process, or the nodes of a cluster and the servers
// of their log.
type installation struct {
	nodes   []*child
	servers []*exec.Cmd
	addr    string // of all nodes that take pings, in a list
}

func (in *installation) add(c *child) {
	in.nodes = append(in.nodes, c)
	in.addr = c.addr
}

const logServers = 3

// startServers starts the servers of a log, and returns once all of them take connections.
func (in *installation) startServers(ctx context.Context, dir string) (url string, err error) {
	list, url, err := natsd.Cluster(logServers, dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for i := range list {
		cmd := natsd.Command(&list[i])
		if err := cmd.Start(); err != nil {
			return "", err
		}
		in.servers = append(in.servers, cmd)
	}
	for i := range list {
		if err := listening(ctx, "127.0.0.1:"+strconv.Itoa(list[i].Port)); err != nil {
			return "", err
		}
	}
	return url, nil
}

// listening returns once an address takes connections.
func listening(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if pause.For(ctx, 20*time.Millisecond) != nil {
			return err
		}
	}
}

// startNodes starts a node for each of two parts, and a spare.
func (l *lab) startNodes(ctx context.Context, in *installation, url string) error {
	const parts, nodes = 2, 3
	secret := filepath.Join(l.logDir(), "secret")
	if err := os.WriteFile(secret, []byte("thirty-two bytes for measuring.\n"), 0o600); err != nil {
		return err
	}
	for i := range nodes {
		peer, err := freeAddr()
		if err != nil {
			return err
		}
		name := "n" + strconv.Itoa(i)
		c, err := l.launch(ctx, l.binary, name, "--queue="+url, "--node="+name, "--parts="+strconv.Itoa(parts),
			"--peer-listen="+peer, "--peer-address="+peer, "--peer-secret-file="+secret)
		if err != nil {
			return err
		}
		in.nodes = append(in.nodes, c)
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var list []string
		for _, c := range in.nodes {
			// A node may take pings before it knows who has the other part: it has a note then.
			if said, err := get(ready, "http://"+c.addr+"/readyz"); err == nil && !strings.Contains(said, "no node") {
				list = append(list, c.addr)
			}
		}
		if len(list) == parts {
			in.addr = strings.Join(list, ",")
			return nil
		}
		if err := pause.For(ready, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d nodes take pings: %w", len(list), parts, err)
		}
	}
}

// stop ends the nodes in order, then the servers of the log.
func (in *installation) stop() (failure error) {
	for _, c := range in.nodes {
		failure = errors.Join(failure, c.stop())
	}
	for _, cmd := range in.servers {
		failure = errors.Join(failure, cmd.Process.Signal(syscall.SIGTERM))
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		failure = errors.Join(failure, cmd.Wait())
		kill.Stop()
	}
	return failure
}

// usage is the resources that an installation has taken.
type usage struct {
	cpu, logs time.Duration // of the nodes, and of the servers of the log
	written   int64         // bytes to disks
}

func (in *installation) used() (u usage, err error) {
	take := func(p *os.Process, to *time.Duration) {
		cpu, cerr := cpuOf(p.Pid)
		written, werr := writtenBy(p.Pid)
		*to += cpu
		u.written += written
		err = errors.Join(err, cerr, werr)
	}
	for _, c := range in.nodes {
		take(c.cmd.Process, &u.cpu)
	}
	for _, cmd := range in.servers {
		take(cmd.Process, &u.logs)
	}
	return u, err
}

// writtenBy returns how many bytes a process has had written to disks.
func writtenBy(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			return strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/io has no write_bytes", pid)
}

// peak returns the most memory that the nodes had resident, in bytes.
func (in *installation) peak() (sum int64, err error) {
	for _, c := range in.nodes {
		n, perr := c.peak()
		sum += n
		err = errors.Join(err, perr)
	}
	return sum, err
}

// scrape returns the sums of the counters of the nodes that can be asked: all that take pings.
func (in *installation) scrape(ctx context.Context) (map[string]float64, error) {
	all, asked := make(map[string]float64), 0
	var failure error
	for _, c := range in.nodes {
		counted, err := c.scrape(ctx)
		if err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		asked++
		for name, v := range counted {
			all[name] += v
		}
	}
	if asked < 1+strings.Count(in.addr, ",") {
		return nil, failure
	}
	return all, nil
}

// nodesMarkdown returns a table of the embedded log beside the same log on servers, and nodes that
// share the riders.
func (t *benchTable) nodesMarkdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s riders with a ping a second; medians of %d, each of %g s; NATS servers sync each write.\n\n", t.Machine.markdown(), unit.Comma(float64(t.Riders)), t.Repeats, t.Lasts)
	b.WriteString("| load | server | pings/s | CPU-s/M: nodes | NATS servers | bytes written a ping | MiB of the nodes | at | p50 | p99 ms |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for i := range t.Medians {
		f := &t.Medians[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %.0f | %s/s | %s | %s |\n", f.Load, f.Server, unit.Comma(round(f.Rate)),
			digits(f.CPU), digits(f.LogCPU), digits(f.Written), f.Peak, unit.Comma(round(f.HalfRate)), digits(f.P50), digits(f.P99))
	}
	for _, note := range t.notes() {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	return b.String()
}
