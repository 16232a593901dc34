//go:build unix

package queue

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// servers are three processes, each a server of one cluster.
type servers struct {
	t     testing.TB
	args  [3][]string // name, ports of clients and of the cluster, directory, all routes
	procs [3]*exec.Cmd

	failing sync.Mutex // held while a server fails, one at a time
}

// startServers starts them, and returns once a stream can be made.
func startServers(t testing.TB) *servers {
	t.Helper()
	c := &servers{t: t}
	var routes []string
	for i := range c.args {
		c.args[i] = []string{fmt.Sprint("n", i), strconv.Itoa(freePort(t)), strconv.Itoa(freePort(t)), t.TempDir()}
		routes = append(routes, "nats://127.0.0.1:"+c.args[i][2])
	}
	t.Cleanup(func() {
		c.failing.Lock()
		for i := range c.procs {
			c.kill(i)
		}
	})
	for i := range c.args {
		c.args[i] = append(c.args[i], strings.Join(routes, ","))
		c.start(i)
	}
	eventually(t, "the servers are together", func() bool {
		l, err := Open(testContext(t), Config{Dir: t.TempDir(), URL: c.url(), Stream: "FIRST", MaxBytes: 1 << 20, Replicas: 3, Logger: quiet})
		if err == nil {
			shut(t, l)
		}
		return err == nil
	})
	return c
}

// start starts server i, and returns once it takes connections. It ends with this process.
func (c *servers) start(i int) {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], c.args[i]...) // #nosec G204: this binary; a long test outlives the context of child
	cmd.Env = append(os.Environ(), childRole+"=nats")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	_ = stdin // open as long as this process lives
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.procs[i] = cmd
	if lines := bufio.NewScanner(out); !lines.Scan() {
		c.t.Fatalf("server %d did not start", i)
	}
}

// kill ends server i as a crash would.
func (c *servers) kill(i int) {
	if cmd := c.procs[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.procs[i] = nil
	}
}

// fail has server i be dead or suspended for some seconds, as long as an election takes or
// longer, in the background.
func (c *servers) fail(i int, dies bool) {
	c.failing.Lock()
	go func() {
		defer c.failing.Unlock()
		away := time.Second + rand.N(8*time.Second)
		if dies {
			c.kill(i)
			time.Sleep(away)
			c.start(i)
			return
		}
		_ = c.procs[i].Process.Signal(syscall.SIGSTOP)
		time.Sleep(away)
		_ = c.procs[i].Process.Signal(syscall.SIGCONT)
	}()
}

func (c *servers) addresses() (list []string) {
	for _, args := range c.args {
		list = append(list, "127.0.0.1:"+args[1])
	}
	return list
}

func (c *servers) url() string { return "nats://" + strings.Join(c.addresses(), ",nats://") }
