package trail

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"pingline/ingest/auth"
)

func TestLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	trail, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	client := netip.MustParseAddr("192.0.2.7")
	trail.Failed(&auth.Denied{Cause: auth.Revoked, Name: "depot"}, client)
	trail.Failed(&auth.Denied{Cause: auth.Missing}, client)
	trail.Failed(&auth.Denied{Cause: auth.TooMany}, client)
	trail.Read("desk", "ana\n\"", client)
	trail.Removed("office", "59fb359c", client)
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []auditLine
	for line := range bytes.Lines(text) {
		var e auditLine
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, e)
	}
	if len(lines) != 3 || lines[2].What != "removed" || lines[2].Key != "office" || lines[2].Removal != "59fb359c" || lines[2].Rider != "" || lines[0].Reason != auth.Revoked || lines[0].Key != "depot" || lines[1].Rider != "ana\n\"" || lines[1].Key != "desk" || lines[1].Client != client || lines[1].At.IsZero() {
		t.Errorf("%s", text)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := Open(filepath.Join(path, "below-a-file"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file below a file was opened")
	}
	dir := t.TempDir()
	if _, err := Open(dir, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a directory was opened")
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		t.Error("the directory is gone", err)
	}
}

// Where a full disk has cut a line off, the next has a line of its own.
func TestALineBehindHalfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"at":"20`), 0o600); err != nil {
		t.Fatal(err)
	}
	trail, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	trail.failed = true
	trail.Read("desk", "ana", netip.MustParseAddr("192.0.2.7"))
	trail.Read("desk", "bob", netip.MustParseAddr("192.0.2.7"))
	if err := trail.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
		if json.Valid(line) != (i > 0) || bytes.Count(text, []byte("\n")) != 3 {
			t.Errorf("line %d of %q", i, text)
		}
	}
}
