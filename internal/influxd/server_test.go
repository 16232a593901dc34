package influxd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// write stores one point with the field value v at time at (ms).
func write(t *testing.T, s *Server, v, at string) {
	t.Helper()
	resp, err := http.Post(s.URL()+"/write?db=pingline&precision=ms", "", strings.NewReader("m v="+v+" "+at))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusNoContent {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("write: %s: %s", resp.Status, body)
	}
}

// sum is the JSON text of the sum of what write stored.
func sum(t *testing.T, s *Server) string {
	t.Helper()
	a, err := s.query(t.Context(), http.DefaultClient, `SELECT sum(v) FROM pingline..m`)
	if err != nil {
		t.Fatal(err)
	}
	return a.cell("sum")
}

func restart(t *testing.T, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	if err := s.Restart(ctx); err != nil {
		t.Fatal(err)
	}
}

// gone tells whether there is no process pid any more.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestKilledServerRestartsWithItsData(t *testing.T) {
	s := RunTest(t)
	url := s.URL()
	write(t, s, "1", "1")

	s.Kill()
	s.Kill() // a second time does nothing
	if resp, err := http.Get(url + "/ping"); err == nil {
		_ = resp.Body.Close()
		t.Error("a killed server answers")
	}
	if err := s.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Pause of a killed server = %v, want ErrProcessDone", err)
	}
	restart(t, s)
	write(t, s, "2", "2")

	first := s.proc.pid()
	restart(t, s) // of a running one
	if !gone(first) {
		t.Error("Restart left the old child")
	}
	write(t, s, "4", "3")
	if got := sum(t, s); got != "7" || s.URL() != url {
		t.Errorf("sum %s at %s after two restarts, want 7 at %s", got, s.URL(), url)
	}
}

func TestPausedServerIsSilentUntilContinued(t *testing.T) {
	s := RunTest(t)
	write(t, s, "1", "1")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 300 * time.Millisecond}
	resp, err := client.Get(s.URL() + "/ping")
	if err == nil {
		_ = resp.Body.Close()
		t.Error("a paused server answers")
	} else if !os.IsTimeout(err) {
		t.Errorf("ping of a paused server: %v, want a timeout", err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := sum(t, s); got != "1" {
		t.Errorf("sum %s after Continue, want 1", got)
	}

	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	restart(t, s) // kills a paused one too
	if got := sum(t, s); got != "1" {
		t.Errorf("sum %s after Restart, want 1", got)
	}
}

func TestCloseLeavesFilesAndNoChild(t *testing.T) {
	for _, state := range []string{"running", "paused", "killed"} {
		t.Run(state, func(t *testing.T) {
			s := RunTest(t)
			write(t, s, "1", "1")
			switch state {
			case "paused":
				if err := s.Pause(); err != nil {
					t.Fatal(err)
				}
			case "killed":
				s.Kill()
			}
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Error(err)
			}
			if pid := s.proc.pid(); !gone(pid) {
				t.Errorf("process %d outlives Close", pid)
			}
			if err := s.Restart(t.Context()); !errors.Is(err, os.ErrClosed) {
				t.Errorf("Restart after Close = %v, want ErrClosed", err)
			}
			for _, part := range []string{"meta", "data", "wal"} {
				if _, err := os.Stat(filepath.Join(s.cfg.Dir, part)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestServersRunSideBySide(t *testing.T) {
	a, b := RunTest(t), RunTest(t)
	write(t, a, "1", "1")
	write(t, b, "2", "1")
	if sum(t, a) != "1" || sum(t, b) != "2" {
		t.Errorf("sums %s and %s, want 1 and 2", sum(t, a), sum(t, b))
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	t.Setenv("INFLUXDB_HTTP_AUTH_ENABLED", "true") // of no concern to it
	s := RunTest(t, "INFLUXDB_DATA_MAX_VALUES_PER_TAG=1")
	var last string
	for _, line := range []string{"m,k=a v=1 1", "m,k=b v=2 2"} {
		resp, err := http.Post(s.URL()+"/write?db=pingline", "", strings.NewReader(line))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		last = resp.Status + " " + string(text)
	}
	if !strings.HasPrefix(last, "400") || !strings.Contains(last, "max-values-per-tag") {
		t.Errorf("second value of a tag: %s, want 400 for max-values-per-tag", last)
	}
}

func TestLogGoesToOutput(t *testing.T) {
	binary, dir := RunTest(t).cfg.Binary, t.TempDir()
	var log bytes.Buffer
	s, err := Start(t.Context(), Config{Binary: binary, Dir: dir, Database: `a "b"`, Output: &log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // nothing writes to log after that
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "Server shutdown completed") {
		t.Errorf("log does not tell of a clean stop:\n%s", log.String())
	}
}

func TestStartSaysWhyItFails(t *testing.T) {
	binary := RunTest(t).cfg.Binary
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want error
		text string
	}{
		{"no directory", Config{Binary: binary}, nil, "no directory"},
		{"a file for a directory", Config{Binary: binary, Dir: file}, syscall.ENOTDIR, ""},
		{"no such binary", Config{Binary: "/no/influxd", Dir: t.TempDir()}, os.ErrNotExist, ""},
		{"a binary that is another program", Config{Binary: "/bin/false", Dir: t.TempDir()}, errExited, "exit status 1"},
		{"a wrong setting", Config{Binary: binary, Dir: t.TempDir(), Env: []string{"INFLUXDB_HTTP_ENABLED=maybe"}}, errExited, "INFLUXDB_HTTP_ENABLED"},
		{"a database name it refuses", Config{Binary: binary, Dir: t.TempDir(), Database: `a\b`}, nil, "invalid name"},
		{"a port that is taken", Config{Binary: binary, Dir: t.TempDir(), Port: port}, errPortTaken, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Start(t.Context(), tt.cfg)
			if err == nil {
				t.Fatal(s.Close())
			}
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Start = %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
}

func TestStartThatIsCancelledLeavesNoChild(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "never-ready")
	script := "#!/bin/sh\necho $$ >\"$HOME/pid\"\necho up\nexec sleep 1000\n"
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Start(ctx, Config{Binary: binary, Dir: dir, Output: writerFunc(cancel)})
	if err == nil {
		t.Fatal(s.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want Canceled", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Errorf("process %d is left", pid)
	}
}

// writerFunc is called for its side effect by each Write.
type writerFunc func()

func (f writerFunc) Write(b []byte) (int, error) {
	f()
	return len(b), nil
}
