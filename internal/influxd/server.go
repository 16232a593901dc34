// Package influxd runs a real InfluxDB, 1.8 or 2.x, as a child process, for
// tests and for the demo.
//
// A Server listens on 127.0.0.1 only, keeps its files in a directory of its own, sends no telemetry
// and can be killed, frozen, thawed and restarted on the same data and the same port. Start and
// Restart return when it answers queries and its bucket is there; on 1.8 a bucket is a database, or
// database/policy. The child never outlives Close; on Linux it also dies with its parent, however
// that ends. On other systems a parent that is killed leaves it behind.
//
// The package does not build InfluxDB (make influxd and make influxd2 do) and
// never removes a file.
package influxd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says which InfluxDB to run, and where.
type Config struct {
	Version   int           // of InfluxDB, 1 (that is 1.8) or 2; 0 means 1
	Binary    string        // path of the influxd to run; "" means the result of Find or Find2
	Dir       string        // directory of all its files; made if missing; required
	Port      int           // of its HTTP service on 127.0.0.1; 0 means a free port
	Bucket    string        // made if missing; "" means "pingline"
	Retention time.Duration // how long a new bucket keeps points; 0 means for ever, at least 1 h
	Org       string        // organization on 2.x, made with its data; "" means "pingline"; not on 1.8
	Token     string        // of a user with all rights; on 1.8 user:password, and "" turns credentials off; on 2.x "" means "pingline-token"
	Env       []string      // more settings, as "INFLUXDB_DATA_MAX_VALUES_PER_TAG=100", "INFLUXD_LOG_LEVEL=error" on 2.x
	Output    io.Writer     // receives its log; nil drops the log
}

// closeGrace is how long Close lets InfluxDB flush before it kills it.
const closeGrace = 10 * time.Second

// Server is an InfluxDB and its data. It is safe for concurrent use.
type Server struct {
	cfg Config
	api api

	mu     sync.Mutex // guards the fields below; taken before tail.mu
	proc   *process   // the latest child, which may have exited
	closed bool
}

// Start runs InfluxDB and waits until it is ready. ctx bounds the wait, not the
// life of the server: that ends with Close.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Dir == "" {
		return nil, errors.New("influxd: no directory given")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("influxd: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("influxd: %w", err)
	}
	cfg.Dir = dir
	cfg.Version = cmp.Or(cfg.Version, 1)
	cfg.Bucket = cmp.Or(cfg.Bucket, "pingline")
	if cfg.Version == 2 {
		cfg.Org = cmp.Or(cfg.Org, "pingline")
		cfg.Token = cmp.Or(cfg.Token, "pingline-token")
	}
	if cfg.Binary == "" {
		if cfg.Binary, err = findVersion(cfg.Version); err != nil {
			return nil, err
		}
	}
	s := &Server{cfg: cfg}
	if s.api, err = s.newAPI(); err != nil {
		return nil, err
	}
	if cfg.Port == 0 {
		err = s.startOnFreePort(ctx)
	} else {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// startOnFreePort tries several ports: another process can take a port between
// FreePort and the start of the child.
func (s *Server) startOnFreePort(ctx context.Context) error {
	var errs []error
	for range 5 {
		port, err := FreePort()
		if err != nil {
			return fmt.Errorf("influxd: %w", err)
		}
		s.cfg.Port = port
		err = s.start(ctx)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return errors.Join(errs...)
}

// start runs a child and waits until it is ready; if that fails no child is
// left.
func (s *Server) start(ctx context.Context) error {
	args, env := s.api.command()
	p, err := startProcess(s.cfg.Binary, args, s.env(env), s.cfg.Output)
	if err != nil {
		return fmt.Errorf("influxd: start %s: %w", s.cfg.Binary, err)
	}
	if err := s.awaitReady(ctx, p); err != nil {
		p.kill()
		return fmt.Errorf("influxd: start %s on port %d: %w", s.cfg.Binary, s.cfg.Port, err)
	}
	s.proc = p
	return nil
}

// env is our environment without InfluxDB's settings, then ours, then the
// caller's: the child sees the last value of a repeated name.
func (s *Server) env(ours []string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "INFLUXDB_") && !strings.HasPrefix(v, "INFLUXD_") {
			env = append(env, v)
		}
	}
	env = append(append(env, "HOME="+s.cfg.Dir), ours...)
	return append(env, s.cfg.Env...)
}

// URL is the server's address, as "http://127.0.0.1:12345"; it stays the same
// for the life of the Server.
func (s *Server) URL() string { return "http://" + s.addr() }

func (s *Server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.cfg.Port) }

// Version is 1 or 2.
func (s *Server) Version() int { return s.cfg.Version }

// Org is the organization of the bucket and the token, "" on 1.8.
func (s *Server) Org() string { return s.cfg.Org }

// Bucket is the bucket that Start made.
func (s *Server) Bucket() string { return s.cfg.Bucket }

// Token gives all rights; "" on a 1.8 that asks for no credentials.
func (s *Server) Token() string { return s.cfg.Token }

// CreateBucket makes a further bucket that keeps points for keep, 0 for ever,
// else at least 1 h. It does nothing if the bucket exists.
func (s *Server) CreateBucket(ctx context.Context, name string, keep time.Duration) error {
	if err := s.api.createBucket(ctx, name, keep); err != nil {
		return fmt.Errorf("influxd: create bucket %q: %w", name, err)
	}
	return nil
}

// CreateToken returns a token that may read or write bucket, both or neither,
// and nothing else. On 1.8 that is user:password, for all of the bucket's
// database, and has an effect only if Config.Token was given.
func (s *Server) CreateToken(ctx context.Context, bucket string, read, write bool) (string, error) {
	token, err := s.api.createToken(ctx, bucket, read, write)
	if err != nil {
		return "", fmt.Errorf("influxd: create token for bucket %q: %w", bucket, err)
	}
	return token, nil
}

// SetRetention changes how long a bucket keeps points, 0 for ever, else at least
// 1 h.
func (s *Server) SetRetention(ctx context.Context, bucket string, keep time.Duration) error {
	if err := s.api.setRetention(ctx, bucket, keep); err != nil {
		return fmt.Errorf("influxd: set retention of bucket %q: %w", bucket, err)
	}
	return nil
}

// DeleteBefore deletes all points that are older, and with them the types of
// their fields. On 1.8 it does so in all policies of the database.
func (s *Server) DeleteBefore(ctx context.Context, bucket string, before time.Time) error {
	if err := s.api.deleteBefore(ctx, bucket, before); err != nil {
		return fmt.Errorf("influxd: delete from bucket %q: %w", bucket, err)
	}
	return nil
}

// Points returns all points of a database, sorted, each as line protocol in which
// values are JSON and times ns. They must fit into 1 MiB. On 2.x it returns
// errors.ErrUnsupported.
func (s *Server) Points(ctx context.Context, bucket string) ([]string, error) {
	points, err := s.api.points(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("influxd: read bucket %q: %w", bucket, err)
	}
	return points, nil
}

// MapBucket has InfluxQL on a 2.x find bucket under database and policy, and
// under database alone. On 1.8 it returns errors.ErrUnsupported.
func (s *Server) MapBucket(ctx context.Context, bucket, database, policy string) error {
	if err := s.api.mapBucket(ctx, bucket, database, policy); err != nil {
		return fmt.Errorf("influxd: map bucket %q to %s/%s: %w", bucket, database, policy, err)
	}
	return nil
}

// PID returns the number of its process, which may have ended.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.pid()
}

// Kill ends the server at once (SIGKILL) and returns when it is gone. It does
// nothing if it is gone already.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc.kill()
}

// Pause freezes the server (SIGSTOP): connections open, nothing answers. On
// Linux it stands still when Pause returns. It is an error if no server is
// running.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.proc.signal(syscall.SIGSTOP)
	if err == nil {
		err = awaitStop(s.proc.pid())
	}
	if err != nil {
		return fmt.Errorf("influxd: pause port %d: %w", s.cfg.Port, err)
	}
	return nil
}

// Continue thaws the server after Pause. It is an error if no server is
// running.
func (s *Server) Continue() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("influxd: continue port %d: %w", s.cfg.Port, err)
	}
	return nil
}

// Restart kills the server if it still runs, starts InfluxDB on the same data
// and port and waits until it is ready, or ctx ends.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("influxd: restart port %d: %w", s.cfg.Port, os.ErrClosed)
	}
	s.proc.kill()
	return s.start(ctx)
}

// Close asks the server to stop, frozen or not, and kills it if it has not
// stopped after 10 s, which is an error. Closing twice is fine.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if err := s.proc.stop(closeGrace); err != nil {
		return fmt.Errorf("influxd: close port %d: %w", s.cfg.Port, err)
	}
	return nil
}
