package influxd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// TB is the part of testing.TB that Run needs. It is declared here so that
// programs which run a Server do not link package testing.
type TB interface {
	Helper()
	TempDir() string
	Context() context.Context
	Cleanup(func())
	Skip(args ...any)
	Fatal(args ...any)
	Error(args ...any)
}

// startLimit is how long a test waits for a server. It is long, since a test
// must not fail because the machine is busy.
const startLimit = 10 * time.Minute

// RunTest runs a 1.8 with env as Config.Env, as Run does.
func RunTest(t TB, env ...string) *Server {
	t.Helper()
	return Run(t, Config{Version: 1, Env: env})
}

// RunTest2 runs a 2.x with env as Config.Env, as Run does.
func RunTest2(t TB, env ...string) *Server {
	t.Helper()
	return Run(t, Config{Version: 2, Env: env})
}

// Run runs a Server for as long as t, by default with its files in a temporary
// directory. Where there is no influxd of that version the test is skipped, or
// fails if $CI is set.
func Run(t TB, cfg Config) *Server {
	t.Helper()
	var err error
	if cfg.Binary == "" {
		cfg.Binary, err = findVersion(cfg.Version)
	}
	if errors.Is(err, ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(t.TempDir(), "influxdb")
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	s, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
