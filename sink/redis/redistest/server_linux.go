package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a Redis of a test. Its default user has a password.
type Server struct {
	bin, dir string
	port     int
	settings []string

	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer // read when the process has exited
}

// Password is that of the default user.
const Password = "s3cret-of-tests"

// patience is how long a busy machine may take.
const patience = 5 * time.Minute

// Run runs a server, which flushes every write to its disk before it answers, until the test
// ends. settings are further arguments of redis-server, such as --maxmemory 100mb. It skips
// the test if there is no Redis. PINGLINE_TEST_REDIS may name the program, also of a Valkey.
func Run(t testing.TB, settings ...string) *Server {
	t.Helper()
	bin := os.Getenv("PINGLINE_TEST_REDIS")
	if bin == "" {
		found, err := exec.LookPath("redis-server")
		if err != nil {
			t.Skip("there is no redis-server here: install the package redis-server, or name the program in PINGLINE_TEST_REDIS")
		}
		bin = found
	}
	s := &Server{bin: bin, dir: t.TempDir(), settings: settings}
	if err := os.WriteFile(s.PasswordFile(), []byte(Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// PasswordFile returns a file with the password.
func (s *Server) PasswordFile() string { return filepath.Join(s.dir, "password") }

// Addr returns where the server listens.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// URL returns where its first database is, without the password.
func (s *Server) URL() string { return "redis://" + s.Addr() + "/0" }

// Restart starts the server, killing it first if it runs, and returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	args := append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--requirepass", Password, "--masterauth", Password, "--daemonize", "no", "--cluster-port", "0",
	}, s.settings...)
	cmd := exec.Command(s.bin, args...) //nolint:gosec // a program that the tests name
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.output.Reset()
	cmd.Stdout = &s.output
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.cmd, s.exited = cmd, exited
	go func() { _ = cmd.Wait(); close(exited) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c := s.Client()
	defer func() { _ = c.Close() }()
	for {
		err := c.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("redis-server has exited: %s", s.output.String())
		case <-ctx.Done():
			return err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Client returns a client of an operator, who closes it.
func (s *Server) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.Addr(), Password: Password, Protocol: 2, DialerRetries: 1, ReadTimeout: patience, DisableIdentity: true})
}

// Do runs a command as an operator would, with arguments that a space parts, and returns the
// answer.
func (s *Server) Do(t testing.TB, command string, more ...any) any {
	t.Helper()
	got, err := s.Try(command, more...)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	return got
}

// Try is Do, but returns the error. A missing value is nil, and no error.
func (s *Server) Try(command string, more ...any) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := s.Client()
	defer func() { _ = c.Close() }()
	var args []any
	for _, arg := range strings.Fields(command) {
		args = append(args, arg)
	}
	got, err := c.Do(ctx, append(args, more...)...).Result()
	if err == redis.Nil { //nolint:errorlint // it is that value
		return nil, nil
	}
	return got, err
}

// Kill kills the server, if it runs.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Freeze stops the server, and returns when it stands still.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP, 'T') }

// Thaw lets it go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT, 0) }

func (s *Server) signal(sig syscall.Signal, want byte) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	for want != 0 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		if err != nil {
			return err
		}
		if _, rest, ok := strings.Cut(string(text), ") "); ok && rest[0] == want {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// Cluster runs n servers that are a cluster, until the test ends, each with a part of the
// slots.
func Cluster(t testing.TB, n int) []*Server {
	t.Helper()
	var list []*Server
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bus := ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		list = append(list, Run(t, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-node-timeout", "5000"))
	}
	const slots = 16384
	for i, s := range list {
		s.Do(t, fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", slots*i/n, slots*(i+1)/n-1))
		s.Do(t, fmt.Sprintf("CLUSTER SET-CONFIG-EPOCH %d", i+1))
	}
	for _, s := range list[1:] {
		bus := s.Do(t, "CONFIG GET cluster-port").([]any)[1]
		list[0].Do(t, fmt.Sprintf("CLUSTER MEET 127.0.0.1 %d %s", s.port, bus))
	}
	for _, s := range list {
		for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
			info, _ := s.Do(t, "CLUSTER INFO").(string)
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", n)) && strings.Contains(info, fmt.Sprintf("cluster_size:%d", n)) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("the cluster does not come about: %s", info)
			}
		}
	}
	return list
}
