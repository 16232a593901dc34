package sink

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDeadLettersTornByACrash(t *testing.T) {
	refused := &WriteError{Kind: Row, Status: 400, Message: "no <good>"}
	whole := `{"at":"2026-01-01T00:00:00Z","shard":"a","reason":"r","status":400,"line":"x"}` + "\n"
	for _, tt := range []struct{ name, before, kept string }{
		{"no file", "", ""},
		{"whole", whole, whole},
		{"torn", whole + whole[:20], whole},
		{"nothing but a torn one", whole[:20], ""},
		{"torn far behind", whole + strings.Repeat("x", 10_000), whole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &deadLetters{dir: filepath.Join(t.TempDir(), "new", "deadletter"), max: 1 << 20}
			path := filepath.Join(d.dir, DeadLetterFile)
			if tt.before != "" {
				if err := os.MkdirAll(d.dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.append("b", refused, []byte("m v=1 1\nm,t=\"é\" v=2 2\n")); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(string(b), tt.kept)
			if !ok || strings.Count(rest, "\n") != 2 || !strings.Contains(rest, `"shard":"b"`) || !strings.Contains(rest, `"line":"m v=1 1"`) {
				t.Errorf("the file is\n%s", b)
			}
		})
	}
}

func TestDeadLettersFull(t *testing.T) {
	d := &deadLetters{dir: t.TempDir(), max: 300}
	refused := &WriteError{Kind: Row, Status: 400, Message: "no"}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = d.append("a", refused, []byte("m v=1 1\n"))
	}
	if !errors.Is(err, errDeadLettersFull) || n < 2 {
		t.Fatalf("after %d rows: %v", n, err)
	}
	path := filepath.Join(d.dir, DeadLetterFile)
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 300 || strings.Count(string(b), "\n") != n-1 {
		t.Errorf("the file has %d bytes, %d lines, %v; want %d whole lines", len(b), strings.Count(string(b), "\n"), err, n-1)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := d.append("a", refused, []byte("m v=1 1\n")); err != nil {
		t.Errorf("with the file moved away: %v", err)
	}
}

func TestDeadLettersWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &deadLetters{dir: filepath.Join(file, "deadletter"), max: 1 << 20}
	if err := d.append("a", &WriteError{}, []byte("m v=1 1\n")); err == nil || errors.Is(err, errDeadLettersFull) {
		t.Errorf("append = %v, want the disk's error", err)
	}
}
