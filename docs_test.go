package pingline_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dirs are what the documents call packages, where that is not their directory.
var dirs = map[string]string{"cmd": "cmd/pingline", "pingline": ".", "server": "ingest/server", "native": "ingest/phone/native", "node": "internal/node", "ops": "internal/ops", "influx": "sink/influx", "deadletter": "sink/deadletter", "store": "sink/store"}

// Every row of a table of failures names tests, and they exist.
func TestFailureModesAreTested(t *testing.T) {
	text, err := os.ReadFile("docs/failure-modes.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`")
	rows, head := 0, ""
	for line := range strings.Lines(string(text)) {
		switch {
		case !strings.HasPrefix(line, "|"):
			head = ""
			continue
		case head == "":
			head = line
			continue
		case strings.HasPrefix(line, "|---") || !strings.HasPrefix(head, "| what breaks |"):
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 || strings.Count(line, "|") != strings.Count(head, "|") {
			t.Errorf("a row has no test, or not all columns: %s", line)
		}
		for _, m := range tests {
			if !hasTest(t, m[1], m[2]) {
				t.Errorf("there is no %s.%s: %s", m[1], m[2], line)
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows were found", rows)
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	dir, ok := dirs[pkg]
	if !ok {
		dir = pkg
	}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
