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

	"pingline/internal/pause"
)

// serverKind is a server to measure.
type serverKind string

const (
	floorServer    serverKind = "floor"
	pinglineServer serverKind = "pingline"
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
func (l *lab) start(ctx context.Context, kind serverKind) (*child, error) {
	c := &child{}
	if kind == floorServer {
		return c, c.startFloor(ctx)
	}
	var err error
	if c.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if c.ops, err = freeAddr(); err != nil {
		return nil, err
	}
	c.cmd = exec.CommandContext(ctx, l.binary, "serve", "--listen="+c.addr, "--ops-listen="+c.ops, //nolint:gosec // running it is the purpose
		"--data-dir="+filepath.Join(l.data, "log"), "--influx-host="+l.store, "--influx-bucket=pings", "--new-riders-rate=0")
	c.cmd.Stderr = &c.said
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if _, err = get(ready, "http://"+c.addr+"/readyz"); err == nil {
			return c, nil
		}
		if pause.For(ready, 20*time.Millisecond) != nil {
			return nil, errors.Join(fmt.Errorf("it takes no pings: %w", err), c.stop())
		}
	}
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

// cpu returns the CPU time that the process has taken.
func (c *child) cpu() (time.Duration, error) { return cpuOf(c.cmd.Process.Pid) }

// cpuOf returns utime and stime of a process.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may have spaces
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of a process is %q", text)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100, nil // USER_HZ is 100 on every Linux that Go runs on
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
