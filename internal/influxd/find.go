package influxd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotFound says that there is no influxd to run.
var ErrNotFound = errors.New("no influxd found: build one with \"make influxd\", or set PINGLINE_INFLUXD to one of version 1.8")

// Find returns the path of an influxd: $PINGLINE_INFLUXD, else .cache/bin/influxd
// of the working directory or the nearest directory above it that has one, else
// that of $PATH. If $PINGLINE_INFLUXD is set to something that cannot be run
// that is an error; if nothing is found it is ErrNotFound.
func Find() (string, error) {
	if name := os.Getenv("PINGLINE_INFLUXD"); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("PINGLINE_INFLUXD: %w", err)
		}
		return filepath.Abs(path)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find influxd: %w", err)
	}
	for {
		path := filepath.Join(dir, ".cache", "bin", "influxd")
		if _, err := exec.LookPath(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	if path, err := exec.LookPath("influxd"); err == nil {
		return filepath.Abs(path)
	}
	return "", ErrNotFound
}
