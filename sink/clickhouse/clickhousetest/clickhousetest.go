// Package clickhousetest runs a real ClickHouse as a child process, for tests.
//
// A Server listens on 127.0.0.1 only and keeps its files in a directory of its own. It
// can be killed, frozen, thawed and restarted on the same data and the same port. On
// Linux it dies with its parent.
package clickhousetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pingline/internal/influxd"
)

// User may do everything, with Password.
const (
	User     = "pingline"
	Password = "a-password-of-tests"
)

// patience is how long a server may take to answer on a busy machine.
const patience = 5 * time.Minute

// Server is a ClickHouse and its data.
type Server struct {
	binary, dir string
	Port        int // of HTTP
	Native      int // of the protocol of clickhouse-client

	mu   sync.Mutex // guards the fields below
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd is gone
	log  bytes.Buffer
}

// Run runs a Server for as long as t. Where there is no clickhouse-server the test is
// skipped.
func Run(t testing.TB) *Server {
	t.Helper()
	binary, err := exec.LookPath("clickhouse-server")
	if err != nil {
		t.Skip("no clickhouse-server is here: apt-get install clickhouse-server")
	}
	s := &Server{binary: binary, dir: t.TempDir()}
	if s.Port, err = influxd.FreePort(); err != nil {
		t.Fatal(err)
	}
	for s.Native == 0 || s.Native == s.Port {
		if s.Native, err = influxd.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.configure(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

const configXML = `<yandex>
<logger><level>warning</level><console>1</console></logger>
<http_port>%[2]d</http_port><tcp_port>%[3]d</tcp_port><listen_host>127.0.0.1</listen_host>
<path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><user_files_path>%[1]s/files/</user_files_path><format_schema_path>%[1]s/forms/</format_schema_path>
<users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>5242880</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size><timezone>Asia/Istanbul</timezone>
</yandex>
`

// usersXML has User, and a user who may only read.
const usersXML = `<yandex>
<profiles><default><max_memory_usage>1000000000</max_memory_usage></default><reads><readonly>2</readonly></reads></profiles>
<users>
<%[1]s><password>%[2]s</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></%[1]s>
<reader><password>%[2]s</password><networks><ip>127.0.0.1</ip></networks><profile>reads</profile><quota>default</quota></reader>
</users>
<quotas><default></default></quotas>
</yandex>
`

func (s *Server) configure() error {
	for _, name := range []string{"data", "tmp", "files", "forms"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "config.xml"), fmt.Appendf(nil, configXML, s.dir, s.Port, s.Native), 0o600),
		os.WriteFile(filepath.Join(s.dir, "users.xml"), fmt.Appendf(nil, usersXML, User, Password), 0o600),
		os.WriteFile(s.PasswordFile(), []byte(Password+"\n"), 0o600))
}

// PasswordFile has the password of User.
func (s *Server) PasswordFile() string { return filepath.Join(s.dir, "password") }

// URL returns the address of a database, as Pingline takes it.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("clickhouse://%s@127.0.0.1:%d/%s", User, s.Port, database)
}

// Address is the address of the HTTP interface.
func (s *Server) Address() string { return "http://127.0.0.1:" + strconv.Itoa(s.Port) }

// Restart kills the server if it runs, and starts it again on the same data.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
	cmd := exec.Command(s.binary, "--config-file=config.xml")
	cmd.Dir = s.dir
	s.log.Reset()
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = childAttr()
	done, started := make(chan struct{}), make(chan error)
	go func() {
		// The kernel ends the child with the thread that made it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.done = cmd, done
	for deadline := time.Now().Add(patience); ; {
		_, err := s.Query(context.Background(), "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-done:
			return fmt.Errorf("clickhouse-server: %v\n%s", cmd.ProcessState, s.log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("clickhouse-server is not ready: %w", err)
		}
	}
}

// Kill ends the server at once.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // the only error is that it is gone
	<-s.done
}

// Freeze stops the server from answering.
func (s *Server) Freeze() error { return s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Signal(sig)
}

// CPU returns how long the server has worked since its start, 0 where there is no /proc.
func (s *Server) CPU() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(text), ") ") // behind the program's name
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Query runs a statement as User and returns the answer.
func (s *Server) Query(ctx context.Context, statement string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Address()+"/", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(User, Password)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", statement, resp.Status, text)
	}
	return strings.TrimSpace(string(text)), err
}

// Execute is Query in a test, which fails if the statement does.
func (s *Server) Execute(t testing.TB, statement string) string {
	t.Helper()
	text, err := s.Query(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
