package influxd

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// program makes an executable file.
func program(t *testing.T, elem ...string) string {
	t.Helper()
	path := filepath.Join(elem...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir()) // as Getwd sees it
	if err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(root, "sink", "testdata")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(below)
	t.Setenv("PINGLINE_INFLUXD", "")
	t.Setenv("PINGLINE_INFLUXD2", "")
	t.Setenv("PATH", filepath.Join(root, "path"))
	expect := func(fact, want string, wantErr error) {
		t.Helper()
		if got, err := Find(); got != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: Find = %q, %v, want %q, %v", fact, got, err, want, wantErr)
		}
	}

	expect("there is none", "", ErrNotFound)
	for target, find := range map[string]func() (string, error){"make influxd": Find, "make influxd2": Find2} {
		if _, err := find(); err == nil || !strings.Contains(err.Error(), `"`+target+`"`) {
			t.Errorf("%v does not say how to build one: %s", err, target)
		}
	}
	onPath := program(t, root, "path", "influxd")
	expect("one is on the path", onPath, nil)
	cached := program(t, root, ".cache", "bin", "influxd")
	expect("the cache above goes before the path", cached, nil)
	t.Setenv("PINGLINE_INFLUXD", program(t, root, "mine"))
	expect("the environment goes first", filepath.Join(root, "mine"), nil)
	t.Setenv("PINGLINE_INFLUXD", filepath.Join(root, "other"))
	expect("a wrong environment is an error", "", os.ErrNotExist)

	// The other version is none of its business.
	t.Setenv("PINGLINE_INFLUXD2", "")
	if got, err := Find2(); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find2 = %q, %v, want ErrNotFound", got, err)
	}
	cached2 := program(t, root, ".cache", "bin", "influxd2")
	if got, err := Find2(); got != cached2 || err != nil {
		t.Errorf("Find2 = %q, %v, want %q", got, err, cached2)
	}
}

// verdict is a TB that takes down how the test ends, with a directory and
// context of the real one.
type verdict struct {
	testing.TB
	text string
}

func (v *verdict) Skip(...any)  { v.text = "skip"; runtime.Goexit() }
func (v *verdict) Fatal(...any) { v.text = "fatal"; runtime.Goexit() }

func TestWithoutInfluxDBATestIsSkippedExceptUnderCI(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", "")
	for _, tt := range []struct{ ci, influxd, want string }{
		{"", "", "skip"},
		{"true", "", "fatal"},
		{"", "/no/influxd", "fatal"},
	} {
		t.Setenv("CI", tt.ci)
		t.Setenv("PINGLINE_INFLUXD", tt.influxd)
		t.Setenv("PINGLINE_INFLUXD2", tt.influxd)
		for version := 1; version <= 2; version++ {
			v := &verdict{TB: t}
			done := make(chan struct{})
			go func() {
				defer close(done)
				Run(v, Config{Version: version})
			}()
			<-done
			if v.text != tt.want {
				t.Errorf("version %d, CI=%q, binary %q: %q, want %q", version, tt.ci, tt.influxd, v.text, tt.want)
			}
		}
	}
}
