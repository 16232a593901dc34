package influxd

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// TB is what RunTest needs of a testing.TB. It is named here so that programs
// which run a Server do not link package testing.
type TB interface {
	Helper()
	TempDir() string
	Context() context.Context
	Cleanup(func())
	Skip(args ...any)
	Fatal(args ...any)
	Error(args ...any)
}

// startLimit is how long a test waits for a server. It is long because a busy
// machine is no fault of the code under test.
const startLimit = 2 * time.Minute

// RunTest runs a Server for as long as t, with its files in a temporary
// directory and env as Config.Env. Where there is no influxd the test is
// skipped, or fails if $CI is set.
func RunTest(t TB, env ...string) *Server {
	t.Helper()
	binary, err := Find()
	if errors.Is(err, ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	s, err := Start(ctx, Config{Binary: binary, Dir: filepath.Join(t.TempDir(), "influxdb"), Env: env})
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
