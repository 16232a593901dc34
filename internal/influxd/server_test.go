package influxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eachVersion runs test against both.
func eachVersion(t *testing.T, test func(t *testing.T, run func() *Server)) {
	for version, name := range map[int]string{1: "1.8", 2: "2.x"} {
		t.Run(name, func(t *testing.T) {
			test(t, func() *Server { return Run(t, Config{Version: version}) })
		})
	}
}

// write stores one point with the field value v at time at (ms).
func write(t *testing.T, s *Server, v, at string) {
	t.Helper()
	if status, text := writeTo(t, s, s.Bucket(), s.Token(), "m v="+v+" "+at); status != http.StatusNoContent {
		t.Fatalf("write: status %d: %s", status, text)
	}
}

func writeTo(t *testing.T, s *Server, bucket, token, line string) (status int, text string) {
	t.Helper()
	as := &Server{cfg: s.cfg}
	as.cfg.Token = token
	path := "/api/v2/write?" + url.Values{"org": {s.Org()}, "bucket": {bucket}, "precision": {"ms"}}.Encode()
	status, b, err := as.request(t.Context(), http.MethodPost, path, "text/plain", line)
	if err != nil {
		t.Fatal(err)
	}
	return status, string(b)
}

// sum is the JSON text of the sum of what write stored.
func sum(t *testing.T, s *Server) string {
	t.Helper()
	return query(t, s, s.Token(), "pingline", "", "SELECT sum(v) FROM m").cell("sum")
}

func query(t *testing.T, s *Server, token, db, policy, q string) *influxqlAnswer {
	t.Helper()
	as := &Server{cfg: s.cfg}
	as.cfg.Token = token
	path := "/query?" + url.Values{"db": {db}, "rp": {policy}, "q": {q}}.Encode()
	_, b, err := as.request(t.Context(), http.MethodGet, path, "", "")
	if err != nil {
		t.Fatal(err)
	}
	a := new(influxqlAnswer)
	if err := json.Unmarshal(b, a); err != nil {
		t.Fatalf("%s: %q: %v", q, b, err)
	}
	return a
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
	eachVersion(t, func(t *testing.T, run func() *Server) {
		s := run()
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
	})
}

func TestPausedServerIsSilentUntilContinued(t *testing.T) {
	eachVersion(t, func(t *testing.T, run func() *Server) {
		s := run()
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
	})
}

func TestCloseLeavesFilesAndNoChild(t *testing.T) {
	for state, version := range map[string]int{"running": 1, "paused": 1, "killed": 1, "2.x running": 2, "2.x paused": 2} {
		t.Run(state, func(t *testing.T) {
			s := Run(t, Config{Version: version})
			write(t, s, "1", "1")
			switch strings.TrimPrefix(state, "2.x ") {
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
			for _, part := range [...][]string{1: {"meta", "data", "wal"}, 2: {"influxd.bolt", "engine/data", "engine/wal"}}[version] {
				if _, err := os.Stat(filepath.Join(s.cfg.Dir, part)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestServersRunSideBySide(t *testing.T) {
	eachVersion(t, func(t *testing.T, run func() *Server) {
		a, b := run(), run()
		write(t, a, "1", "1")
		write(t, b, "2", "1")
		if sum(t, a) != "1" || sum(t, b) != "2" {
			t.Errorf("sums %s and %s, want 1 and 2", sum(t, a), sum(t, b))
		}
	})
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
	s, err := Start(t.Context(), Config{Binary: binary, Dir: dir, Bucket: `a "b"`, Output: &log})
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

type failure struct {
	name string
	cfg  Config
	want error
	text string
}

func TestStartSaysWhyItFails(t *testing.T) {
	binary, port := RunTest(t).cfg.Binary, takenPort(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	saysWhy(t, []failure{
		{"no directory", Config{Binary: binary}, nil, "no directory"},
		{"a file for a directory", Config{Binary: binary, Dir: file}, syscall.ENOTDIR, ""},
		{"no such version", Config{Version: 3, Binary: binary, Dir: t.TempDir()}, nil, "version 3"},
		{"no such binary", Config{Binary: "/no/influxd", Dir: t.TempDir()}, os.ErrNotExist, ""},
		{"a binary that is another program", Config{Binary: "/bin/false", Dir: t.TempDir()}, errExited, "exit status 1"},
		{"a wrong setting", Config{Binary: binary, Dir: t.TempDir(), Env: []string{"INFLUXDB_HTTP_ENABLED=maybe"}}, errExited, "INFLUXDB_HTTP_ENABLED"},
		{"a database name it refuses", Config{Binary: binary, Dir: t.TempDir(), Bucket: `a\b`}, nil, "invalid name"},
		{"a port that is taken", Config{Binary: binary, Dir: t.TempDir(), Port: port}, errPortTaken, "address already in use"},
	})
}

func TestStartOf2SaysWhyItFails(t *testing.T) {
	binary, port := RunTest2(t).cfg.Binary, takenPort(t)
	saysWhy(t, []failure{
		{"a binary that is a 1.8", Config{Version: 2, Binary: RunTest(t).cfg.Binary, Dir: t.TempDir()}, errExited, "flag provided but not defined: -engine-path"},
		{"a wrong setting", Config{Version: 2, Binary: binary, Dir: t.TempDir(), Env: []string{"INFLUXD_STORE=floppy"}}, errExited, "floppy"},
		{"too short a retention", Config{Version: 2, Binary: binary, Dir: t.TempDir(), Retention: time.Minute}, nil, "at least 1h0m0s"},
		{"a port that is taken", Config{Version: 2, Binary: binary, Dir: t.TempDir(), Port: port}, errPortTaken, "address already in use"},
	})
}

// takenPort is one that others listen on.
func takenPort(t *testing.T) int {
	t.Helper()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	return taken.Addr().(*net.TCPAddr).Port
}

func saysWhy(t *testing.T, failures []failure) {
	for _, tt := range failures {
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

func TestTokensMayDoWhatTheyAreFor(t *testing.T) {
	for _, cfg := range []Config{{Version: 1, Token: "admin:secret"}, {Version: 2}} {
		t.Run(fmt.Sprint(cfg.Version), func(t *testing.T) {
			s := Run(t, cfg)
			type rights struct{ read, write bool }
			tokens := make(map[rights]string)
			for _, r := range []rights{{true, true}, {true, false}, {false, true}, {false, false}} {
				var err error
				if tokens[r], err = s.CreateToken(t.Context(), "pingline", r.read, r.write); err != nil {
					t.Fatal(err)
				}
			}
			restart(t, s)
			for tt, token := range tokens {
				if status, text := writeTo(t, s, "pingline", token, "m v=1 1"); (status == http.StatusNoContent) != tt.write {
					t.Errorf("%+v: write: status %d: %s", tt, status, text)
				}
				if err := query(t, s, token, "pingline", "", "SELECT sum(v) FROM m").err(); (err == nil) != tt.read {
					t.Errorf("%+v: read: %v", tt, err)
				}
			}
			if status, _ := writeTo(t, s, "pingline", "", "m v=1 1"); status != http.StatusUnauthorized {
				t.Errorf("without a token: status %d", status)
			}
		})
	}
}

func TestBucketKeepsPointsForItsTime(t *testing.T) {
	long := strconv.FormatInt(time.Now().Add(-3*time.Hour).UnixMilli(), 10)
	for _, cfg := range []Config{
		{Version: 1, Retention: 2 * time.Hour, Bucket: "a/b"},
		{Version: 2, Retention: 2 * time.Hour, Bucket: "a/b", Org: "some one", Token: "t"},
	} {
		t.Run(fmt.Sprint(cfg.Version), func(t *testing.T) {
			s := Run(t, cfg)
			for range 2 {
				for name, keep := range map[string]time.Duration{"c": 2 * time.Hour, "a/d": 24 * time.Hour, "e": 0} {
					if err := s.CreateBucket(t.Context(), name, keep); err != nil {
						t.Fatal(err)
					}
				}
				restart(t, s)
			}
			for bucket, kept := range map[string]bool{"a/b": false, "c": false, "a/d": true, "e": true} {
				if status, text := writeTo(t, s, bucket, s.Token(), "m v=1 "+long); (status == http.StatusNoContent) != kept {
					t.Errorf("%s: status %d: %s", bucket, status, text)
				}
			}
		})
	}
}

func TestMappedBucketIsFound(t *testing.T) {
	s := RunTest2(t)
	write(t, s, "3", "1")
	if err := s.MapBucket(t.Context(), "pingline", "db", "policy"); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []string{"policy", ""} {
		if got := query(t, s, s.Token(), "db", policy, "SELECT sum(v) FROM m").cell("sum"); got != "3" {
			t.Errorf("policy %q: sum %q, want 3", policy, got)
		}
	}
	if err := RunTest(t).MapBucket(t.Context(), "pingline", "db", "policy"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("on 1.8: %v, want ErrUnsupported", err)
	}
}

// A refused row is taken once the bucket keeps points for longer, or forgets
// which type a field had.
func TestBucketsCanBePutRight(t *testing.T) {
	now := time.Now()
	old, recent := now.Add(-30*time.Hour).UnixMilli(), now.UnixMilli()
	for _, cfg := range []Config{{Version: 1, Retention: 2 * time.Hour}, {Version: 2, Retention: 2 * time.Hour, Bucket: "a/b"}} {
		t.Run(fmt.Sprint(cfg.Version), func(t *testing.T) {
			s := Run(t, cfg)
			refused := func(line string) bool {
				status, _ := writeTo(t, s, s.Bucket(), s.Token(), line)
				return status != http.StatusNoContent
			}
			float, text := fmt.Sprintf("m v=1 %d", old), fmt.Sprintf("m v=\"x\" %d", old)
			if !refused(float) {
				t.Error("a point beyond retention is taken")
			}
			if err := s.SetRetention(t.Context(), s.Bucket(), 72*time.Hour); err != nil {
				t.Fatal(err)
			}
			if refused(float) || refused(fmt.Sprintf("m v=1 %d", recent)) {
				t.Error("a point within retention is refused")
			}
			if !refused(text) {
				t.Error("another type is taken")
			}
			if err := s.DeleteBefore(t.Context(), s.Bucket(), now.Add(-20*time.Hour)); err != nil {
				t.Fatal(err)
			}
			if refused(text) || !refused(fmt.Sprintf("m v=\"x\" %d", recent)) {
				t.Error("DeleteBefore has forgotten too little, or too much")
			}
			if err := s.SetRetention(t.Context(), s.Bucket(), 0); err != nil {
				t.Fatal(err)
			}
			if refused("m v=1 1000") {
				t.Error("a bucket that keeps points for ever refuses an old one")
			}
		})
	}
}
