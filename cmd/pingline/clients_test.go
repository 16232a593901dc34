package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A client that oapi-codegen makes of docs/openapi.yaml posts pings and reads the track.
func TestGeneratedGoClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles a generator and a client")
	}
	dir := t.TempDir()
	for from, to := range map[string]string{
		"../../tools/openapi/go.mod": "go.mod", "../../tools/openapi/go.sum": "go.sum", "testdata/clients/main.go.txt": "main.go",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	document, err := filepath.Abs("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	runIn(t, dir, "go", "tool", "oapi-codegen", "-generate", "types,client", "-package", "main", "-o", "client.go", document)
	runIn(t, dir, "go", "build", "-o", "client", ".")
	p := serve(t, t.TempDir(), startInflux(t).URL(), "--batch-wait=50ms")
	at := time.Now().Add(-10 * time.Minute).UnixMilli()
	want := "200 [accepted accepted rejected] 2\n0 41.1578123 -8.6291051 trip_start\n60000 41.2 -8.6 trip_start\n"
	if got := runIn(t, dir, filepath.Join(dir, "client"), p.url, fmt.Sprint(at)); got != want {
		t.Errorf("the client printed\n%swant\n%s", got, want)
	}
}

// runIn runs a command in dir and returns what it printed.
func runIn(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s%s", name, args, err, out.String(), errs.String())
	}
	return out.String()
}
