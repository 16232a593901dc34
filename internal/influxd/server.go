// Package influxd runs a real InfluxDB 1.8 as a child process, for tests and
// for the demo.
//
// A Server listens on 127.0.0.1 only, keeps its files in one directory, reports
// to nobody and can be killed, frozen, thawed and restarted on the same data
// and the same port. Start and Restart return when it answers queries and its
// database is there. The child never outlives Close; on Linux it also dies with
// its parent, however that ends. On other systems a parent that is killed leaves
// it behind.
//
// The package does not build InfluxDB (make influxd does) and never removes a
// file.
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

// Config says what to run and where.
type Config struct {
	Binary   string    // the influxd to run; "" means what Find finds
	Dir      string    // holds all its files; made if missing; required
	Port     int       // of its HTTP service on 127.0.0.1; 0 means a free one
	Database string    // made if missing; "" means "pingline"
	Env      []string  // more settings, as "INFLUXDB_DATA_MAX_VALUES_PER_TAG=100"
	Output   io.Writer // takes its log; nil drops it
}

// closeGrace is how long Close lets InfluxDB flush before it kills it.
const closeGrace = 10 * time.Second

// Server is one InfluxDB and its data. It is safe for concurrent use.
type Server struct {
	cfg Config

	mu     sync.Mutex
	proc   *process // the latest child; it may have exited
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
	cfg.Database = cmp.Or(cfg.Database, "pingline")
	if cfg.Binary == "" {
		if cfg.Binary, err = Find(); err != nil {
			return nil, err
		}
	}
	s := &Server{cfg: cfg}
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

// startOnFreePort tries a few ports: another process can take one between our
// look at it and the child's.
func (s *Server) startOnFreePort(ctx context.Context) error {
	var errs []error
	for range 5 {
		port, err := freePort()
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

// start runs a child and waits until it is ready; if it does not get there no
// child is left.
func (s *Server) start(ctx context.Context) error {
	p, err := startProcess(s.cfg.Binary, s.env(), s.cfg.Output)
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

// env is our environment without InfluxDB settings, then ours, then the
// caller's: of a name given twice the child sees the last.
func (s *Server) env() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "INFLUXDB_") {
			env = append(env, v)
		}
	}
	env = append(env,
		"HOME="+s.cfg.Dir,
		"INFLUXDB_REPORTING_DISABLED=true",
		"INFLUXDB_BIND_ADDRESS=127.0.0.1:0", // backup and restore: nobody calls it
		"INFLUXDB_HTTP_BIND_ADDRESS=127.0.0.1:"+strconv.Itoa(s.cfg.Port),
		"INFLUXDB_HTTP_LOG_ENABLED=false",
		"INFLUXDB_MONITOR_STORE_ENABLED=false",
		"INFLUXDB_META_DIR="+filepath.Join(s.cfg.Dir, "meta"),
		"INFLUXDB_DATA_DIR="+filepath.Join(s.cfg.Dir, "data"),
		"INFLUXDB_DATA_WAL_DIR="+filepath.Join(s.cfg.Dir, "wal"),
	)
	return append(env, s.cfg.Env...)
}

// URL is where it listens, as "http://127.0.0.1:12345"; it stays the same for
// the life of the Server.
func (s *Server) URL() string { return "http://" + s.addr() }

func (s *Server) addr() string { return "127.0.0.1:" + strconv.Itoa(s.cfg.Port) }

// Kill ends it at once (SIGKILL) and returns when it is gone. It does nothing
// to one that is gone already.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc.kill()
}

// Pause freezes it (SIGSTOP): connections open, nothing answers. On Linux it
// stands still when Pause returns. It is an error if there is none running.
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

// Continue thaws what Pause froze. It is an error if there is none running.
func (s *Server) Continue() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("influxd: continue port %d: %w", s.cfg.Port, err)
	}
	return nil
}

// Restart kills what still runs, starts InfluxDB on the same data and port and
// waits until it is ready, or ctx ends.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("influxd: restart port %d: %w", s.cfg.Port, os.ErrClosed)
	}
	s.proc.kill()
	return s.start(ctx)
}

// Close asks it to stop, frozen or not, and kills it if it has not after 10 s,
// which is an error. Closing twice is fine.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if err := s.proc.stop(closeGrace); err != nil {
		return fmt.Errorf("influxd: close port %d: %w", s.cfg.Port, err)
	}
	return nil
}
