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
	postAndRead(t, dir, filepath.Join(dir, "client"))
}

// A client with the types that openapi-typescript makes of docs/openapi.yaml is checked by
// tsc, posts pings and reads the track.
func TestGeneratedTypeScriptClient(t *testing.T) {
	if testing.Short() {
		t.Skip("it generates and compiles a client")
	}
	modules, err := filepath.Abs("../../.cache/openapi/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("../../.cache/openapi/installed"); err != nil || !installed("node") {
		t.Skip("the generator is not installed: make lint-api does that, and needs Node and npm")
	}
	document, err := filepath.Abs("../../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("testdata/clients/main.ts")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	writeIn(t, dir, "main.ts", string(program))
	writeIn(t, dir, "package.json", `{"type":"module"}`)
	runIn(t, dir, "node_modules/.bin/openapi-typescript", document, "-o", "schema.d.ts")
	runIn(t, dir, "node_modules/.bin/tsc", "--strict", "--noUncheckedIndexedAccess", "--skipLibCheck", "--noEmitOnError",
		"--target", "es2022", "--module", "nodenext", "--types", "node", "main.ts")
	postAndRead(t, dir, "node", "main.js")
}

// postAndRead runs a client that posts three pings of which one is rejected, and prints
// what it was answered and the track.
func postAndRead(t *testing.T, dir, client string, args ...string) {
	t.Helper()
	p := serve(t, t.TempDir(), startInflux(t).URL(), "--batch-wait=50ms")
	at := time.Now().Add(-10 * time.Minute).UnixMilli()
	want := "200 [accepted accepted rejected] 2\n0 41.1578123 -8.6291051 trip_start\n60000 41.2 -8.6 trip_start\n"
	if got := runIn(t, dir, client, append(args, p.url, fmt.Sprint(at))...); got != want {
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
