package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// childRole is the variable that makes this binary a child of a test.
const childRole = "PINGLINE_QUEUE_TEST_CHILD"

// child returns a command that runs this binary in a role on the log in dir.
func child(t testing.TB, role, dir, url string, more ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0], append([]string{dir, url}, more...)...)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	return cmd
}

// runChild is the other side of child. Its status is 1 if something failed.
func runChild(role string, args []string) int {
	if role == "nats" {
		return runNATS(args)
	}
	cfg := Config{Dir: args[0], URL: args[1]}
	if role == "churn" {
		cfg.MaxBytes = 4 << 20
	}
	if role == "own" {
		cfg.Node, cfg.Lease, role = "first", shortLease, "append"
	}
	l, err := Open(context.Background(), cfg)
	if err == nil {
		switch role {
		case "open":
		case "append", "churn":
			err = appendForEver(l, args[2])
		case "measure":
			err = measure(l)
		}
		err = errors.Join(err, l.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, role, err)
		return 1
	}
	return 0
}

// appendForEver says what is acknowledged, a number a line, until it is killed.
// What makes the log full it trims.
func appendForEver(l *Log, size string) error {
	n, err := strconv.Atoi(size)
	for err == nil {
		if l.Room() < 1<<20 {
			if err = l.Trim(l.Last() - 20); err != nil {
				break
			}
		}
		next := l.Last() + 1
		if _, err = l.Append(context.Background(), payload(next, n), totals(next), false); err == nil {
			_, err = fmt.Println(next)
		}
	}
	return err
}

// runNATS is a server of servers. It ends when its standard input does.
func runNATS(args []string) int {
	options := &server.Options{
		ServerName: args[0], Host: "127.0.0.1", NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: args[3], SyncAlways: true,
		Cluster: server.ClusterOpts{Name: "three", Host: "127.0.0.1"},
	}
	options.Port, _ = strconv.Atoi(args[1])
	options.Cluster.Port, _ = strconv.Atoi(args[2])
	for route := range strings.SplitSeq(args[4], ",") {
		at, err := url.Parse(route)
		if err != nil {
			return 1
		}
		options.Routes = append(options.Routes, at)
	}
	srv, err := server.NewServer(options)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	srv.Start()
	if !srv.ReadyForConnections(patience) {
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}
