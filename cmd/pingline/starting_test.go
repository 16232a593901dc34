package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A process that is told to stop before it takes pings stops in order: no supervisor is
// to think that its settings are wrong.
func TestTerminatedWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var said strings.Builder
	if status := run(ctx, []string{"serve", "--data-dir=" + t.TempDir(), "--listen=127.0.0.1:0", "--ops-listen="}, io.Discard, &said); status != exitOK {
		t.Errorf("told to stop before the log is open: exit status %d, said %s", status, said.String())
	}

	nats := startNATS(t)
	serve(t, t.TempDir(), "http://127.0.0.1:1", "--queue="+nats, "--node=first").kill()
	cmd := pinglineCommand("serve", "--data-dir="+t.TempDir(), "--listen=127.0.0.1:0", "--ops-listen=", "--queue="+nats, "--queue-lease=1h", "--node=second")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	text := ""
	for lines.Scan() {
		text += lines.Text() + "\n"
		if strings.Contains(lines.Text(), "it is taken over unless") {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || strings.Contains(text, "taking pings") {
		t.Errorf("told to stop while it waits for a lease: %v, said %s", err, text)
	}
}

// A version that cannot read what a newer one has written says so in one line.
func TestStartedOnWhatANewerVersionWrote(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir, "http://127.0.0.1:1").terminate()
	saved, err := filepath.Glob(filepath.Join(dir, "filter", "*.checkpoint"))
	if err != nil || len(saved) != 1 {
		t.Fatalf("checkpoints %v, %v", saved, err)
	}
	if err := os.WriteFile(saved[0], []byte("pingline filter 10\nand more"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, text := exits(t, "serve", "--data-dir="+dir, "--listen=127.0.0.1:0", "--ops-listen=", "--queue-max-bytes=64MiB")
	if status != exitUsage || !strings.Contains(text, "is of form 10, this program knows 1") || strings.Count(text, "\n") != 1 {
		t.Errorf("exit status %d, said %s", status, text)
	}
}
