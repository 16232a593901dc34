package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestUsageOfChildren(t *testing.T) {
	before, err := worked()
	if err != nil {
		t.Fatal(err)
	}
	// The shell works, and so does its own child.
	cmd := exec.Command("sh", "-c", `busy() { i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; }; busy; (busy); echo; read end`)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	running, err := worked()
	if err != nil || running <= before {
		t.Errorf("%v s of CPU before, %v s with a child: %v", before, running, err)
	}
	if n := resident(); n < 50<<10 {
		t.Errorf("a shell has %d bytes", n)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its read fails
	ended, err := worked()
	if err != nil || ended < running-0.02 { // which are counted in ticks
		t.Errorf("%v s of CPU while it ran, %v s when it had ended: %v", running, ended, err)
	}
}

func TestAllocatedLeavesOutHoles(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	if err := os.WriteFile(name, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(name, filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if n, err := allocated(dir, dir); err != nil || n < 100_000 || n > 200_000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}
