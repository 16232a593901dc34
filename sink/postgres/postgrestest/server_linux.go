package postgrestest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a PostgreSQL of a test, with a superuser pingline that has a password.
type Server struct {
	bin, dir string
	port     int
	settings []string
	uid      int // of the server's processes; PostgreSQL refuses to run as root

	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer // read when the process has exited
}

// Password is that of the superuser pingline.
const Password = "s3cret-of-tests"

// patience is how long a busy machine may take.
const patience = 5 * time.Minute

// nobody is the user that runs PostgreSQL where the test is root.
const nobody = 65534

// find returns the folder of PostgreSQL's programs, or "".
func find() string {
	if dir := os.Getenv("PINGLINE_TEST_POSTGRES"); dir != "" {
		return dir
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path)
	}
	list, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(list, func(a, b string) int { return version(b) - version(a) })
	if len(list) == 0 {
		return ""
	}
	return filepath.Dir(list[0])
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// Run runs a server with an empty database pingline, until the test ends. settings are of
// the form name=value. It skips the test if there is no PostgreSQL.
func Run(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := &Server{bin: find(), settings: settings, uid: os.Getuid()}
	if s.bin == "" {
		t.Skip("there is no PostgreSQL here: install the package postgresql, or name the folder of initdb in PINGLINE_TEST_POSTGRES")
	}
	if s.uid == 0 {
		s.uid = nobody
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "postgres"); err != nil { // not in the test's own, whose parents another user may not enter
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		if err := os.RemoveAll(s.dir); err != nil {
			t.Errorf("remove the server's files: %v", err)
		}
	})
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "postgres", "CREATE DATABASE pingline")
	return s
}

// prepare makes the server's files, and finds a port.
func (s *Server) prepare() error {
	if err := os.WriteFile(s.PasswordFile(), []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	for _, name := range []string{s.dir, s.PasswordFile()} {
		if err := os.Chown(name, s.uid, -1); err != nil {
			return err
		}
	}
	cmd := s.command("initdb", "-D", s.data(), "-A", "scram-sha-256", "-U", "pingline", "--pwfile", s.PasswordFile(), "-E", "UTF8", "--locale=C", "-N")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, text)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = ln.Addr().(*net.TCPAddr).Port
	return ln.Close()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// PasswordFile returns a file with the password.
func (s *Server) PasswordFile() string { return filepath.Join(s.dir, "password") }

// File writes a file that the server alone may read, below its folder, in which data/ has
// its settings.
func (s *Server) File(t testing.TB, name string, text []byte) {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, s.uid, -1); err != nil {
		t.Fatal(err)
	}
}

// command runs a program of PostgreSQL as the server's user; the kernel ends it with us.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...) //nolint:gosec // names of our own
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.uid != os.Getuid() {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.uid), Gid: uint32(s.uid)}
	}
	return cmd
}

// Restart starts the server, killing it first if it runs, and returns when it answers.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	args := []string{"-D", s.data()}
	for _, set := range append([]string{
		"listen_addresses=127.0.0.1", "port=" + strconv.Itoa(s.port), "unix_socket_directories=", "shared_buffers=64MB", "max_connections=60",
		"wal_level=minimal", "max_wal_senders=0", "fsync=off", // no test cuts the power
	}, s.settings...) {
		args = append(args, "-c", set)
	}
	cmd := s.command("postgres", args...)
	s.output.Reset()
	cmd.Stderr = &s.output
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.cmd, s.exited = cmd, exited
	go func() { _ = cmd.Wait(); close(exited) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		conn, err := s.connect(ctx, "postgres")
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-exited:
			return fmt.Errorf("postgres has exited: %s", s.output.String())
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// URL returns where a database is, without the password.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://pingline@127.0.0.1:%d/%s", s.port, database)
}

func (s *Server) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	u, err := url.Parse(s.URL(database))
	if err != nil {
		return nil, err
	}
	u.User = url.UserPassword("pingline", Password)
	return pgx.Connect(ctx, u.String())
}

// Exec runs statements in a database as an operator would.
func (s *Server) Exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := s.TryExec(database, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// TryExec is Exec, but returns the error.
func (s *Server) TryExec(database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := s.connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Text returns the only value of a query, as text.
func (s *Server) Text(t testing.TB, database, sql string) (value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := s.connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if err := conn.QueryRow(ctx, "SELECT coalesce(("+sql+")::text, '')").Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// Kill kills all processes of the server, if it runs, and returns when none is left.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no process anew
	children := s.children()
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
	for _, pid := range children {
		for state(pid) != 0 && state(pid) != 'Z' {
			time.Sleep(time.Millisecond)
		}
	}
}

// Freeze stops all processes of the server, and returns when they stand still.
func (s *Server) Freeze() error {
	return s.signal(syscall.SIGSTOP, func(c byte) bool { return c == 'T' || c == 0 || c == 'Z' })
}

// Thaw lets them go on.
func (s *Server) Thaw() error { return s.signal(syscall.SIGCONT, func(byte) bool { return true }) }

func (s *Server) signal(sig syscall.Signal, reached func(state byte) bool) error {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return err
	}
	for _, pid := range append([]int{s.cmd.Process.Pid}, s.children()...) {
		_ = syscall.Kill(pid, sig) // it may be gone
		for !reached(state(pid)) {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// children returns the processes of the server but the first.
func (s *Server) children() (pids []int) {
	list, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range list {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if f := fields(pid); len(f) > 1 && f[1] == strconv.Itoa(s.cmd.Process.Pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// state returns the letter of a process's state, 0 if there is none.
func state(pid int) byte {
	if f := fields(pid); len(f) > 0 {
		return f[0][0]
	}
	return 0
}

// fields returns those of /proc/PID/stat behind the program's name.
func fields(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.Fields(rest)
}
