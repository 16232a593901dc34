package influxd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotFound says that there is no influxd to run.
var ErrNotFound = errors.New("no influxd found")

// Find returns the path of an influxd 1.8: $PINGLINE_INFLUXD, else
// .cache/bin/influxd of the working directory or the nearest directory above it
// that has it, else influxd of $PATH. If $PINGLINE_INFLUXD is set and cannot be
// run that is an error; if there is no influxd the error wraps ErrNotFound and
// says how to get it.
func Find() (string, error) { return find("influxd", "PINGLINE_INFLUXD", "1.8") }

// Find2 is Find for an influxd 2.x: $PINGLINE_INFLUXD2, else a file named
// influxd2.
func Find2() (string, error) { return find("influxd2", "PINGLINE_INFLUXD2", "2.x") }

func findVersion(version int) (string, error) {
	if version == 2 {
		return Find2()
	}
	return Find()
}

func find(program, env, version string) (string, error) {
	if name := os.Getenv(env); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", env, err)
		}
		return filepath.Abs(path)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", program, err)
	}
	for {
		path := filepath.Join(dir, ".cache", "bin", program)
		if _, err := exec.LookPath(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	return "", fmt.Errorf("%w: build one with \"make %s\", or set %s to one of version %s", ErrNotFound, program, env, version)
}
