package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pingline/internal/pause"
)

// serverKind is a server to measure.
type serverKind string

const (
	floorServer    serverKind = "floor"
	pinglineServer serverKind = "pingline"

	beforeServer     serverKind = "before"     // pingline of options.before
	replicatedServer serverKind = "replicated" // pingline whose log is on three NATS servers
	nodesServer      serverKind = "nodes"      // three nodes for two parts, on the same
)

// child is a server that is measured, in a process of its own.
type child struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	said      bytes.Buffer
	addr, ops string
}

// patience is how long a server may take to begin or to end.
const patience = 2 * time.Minute

// start starts a server and waits until it takes pings.
func (l *lab) start(ctx context.Context, kind serverKind) (_ *installation, failure error) {
	in := &installation{}
	defer func() {
		if failure != nil {
			failure = errors.Join(failure, in.stop())
		}
	}()
	switch kind {
	case floorServer:
		c := &child{}
		if err := c.startFloor(ctx); err != nil {
			return nil, err
		}
		in.add(c)
		return in, nil
	case replicatedServer, nodesServer:
		url, err := in.startServers(ctx, l.logDir())
		if err != nil {
			return nil, err
		}
		if kind == nodesServer {
			return in, l.startNodes(ctx, in, url)
		}
		return in, l.startNode(ctx, in, l.binary, "log", "--queue="+url)
	case beforeServer:
		return in, l.startNode(ctx, in, l.before, "log")
	}
	return in, l.startNode(ctx, in, l.binary, "log")
}

// logDir returns the directory of all that a server keeps.
func (l *lab) logDir() string { return filepath.Join(l.data, "log") }

// startNode starts pingline and waits until it takes pings.
func (l *lab) startNode(ctx context.Context, in *installation, binary, name string, args ...string) error {
	c, err := l.launch(ctx, binary, name, args...)
	if err != nil {
		return err
	}
	in.add(c)
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, err = get(ready, "http://"+c.addr+"/readyz"); err == nil {
			return nil
		}
		if pause.For(ready, 20*time.Millisecond) != nil {
			return fmt.Errorf("it takes no pings: %w", err)
		}
	}
}

// launch starts pingline.
func (l *lab) launch(ctx context.Context, binary, name string, args ...string) (*child, error) {
	c := &child{}
	var err error
	if c.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if c.ops, err = freeAddr(); err != nil {
		return nil, err
	}
	args = append([]string{
		"serve", "--listen=" + c.addr, "--ops-listen=" + c.ops, "--data-dir=" + filepath.Join(l.logDir(), name),
		"--influx-host=" + l.store, "--influx-bucket=pings", "--new-riders-rate=0",
	}, args...)
	c.cmd = exec.CommandContext(ctx, binary, args...) //nolint:gosec // running it is the purpose
	c.cmd.Stderr = &c.said
	return c, c.cmd.Start()
}

func (c *child) startFloor(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.cmd = exec.CommandContext(ctx, self, asFloor) //nolint:gosec // it is this program
	c.cmd.Stderr = &c.said
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("the floor tells no address: %w", err), c.stop())
	}
	c.addr = strings.TrimSpace(line)
	c.ops = c.addr
	return nil
}

// stop ends the server in order.
func (c *child) stop() error {
	var err error
	if c.stdin != nil {
		err = c.stdin.Close()
	} else {
		err = c.cmd.Process.Signal(syscall.SIGTERM)
	}
	kill := time.AfterFunc(patience, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	if err = errors.Join(err, c.cmd.Wait()); err != nil {
		return fmt.Errorf("%w: it said %s", err, bytes.TrimSpace(c.said.Bytes()))
	}
	return nil
}

// freeAddr returns an address that was free a moment ago.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it matters
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return string(text), err
}

// cpuOf returns the processor time of a process, exactly: /proc counts ticks of 10 ms.
func cpuOf(pid int) (time.Duration, error) {
	const sched = 2 // clock_getcpuclockid(3): Linux has the clock of a process at ^pid<<3|sched
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil { // #nosec G115: pids have 22 bits
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// peak returns the most memory that the process had resident, in bytes.
func (c *child) peak() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("status of a process has no VmHWM")
}

const mallocs = "go_memstats_mallocs_total"

// scrape returns the counters of the server: the sum of each over all its labels, and
// one with its labels.
func (c *child) scrape(ctx context.Context) (map[string]float64, error) {
	text, err := get(ctx, "http://"+c.ops+"/metrics")
	if err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	for line := range strings.Lines(text) {
		name, number, ok := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseFloat(number, 64)
		if !ok || err != nil || strings.HasPrefix(line, "#") {
			continue
		}
		all[name] += v
		if short, _, labelled := strings.Cut(name, "{"); labelled {
			all[short] += v
		}
	}
	return all, nil
}
