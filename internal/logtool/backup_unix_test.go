//go:build unix

package logtool

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pingline/internal/command"
	"pingline/queue"
	"pingline/queue/backup"
)

// A backup is for its owner alone; a FIFO or a device that it is written to keeps its mode,
// since the superuser could take /dev/null from all others.
func TestModesOfBackups(t *testing.T) {
	dir := t.TempDir()
	log, err := queue.Open(t.Context(), queue.Config{Dir: filepath.Join(dir, backup.LogDir), Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = log.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(out string, want os.FileMode) {
		t.Helper()
		c := &BackupCmd{Out: out, LogPlace: LogPlace{DataDir: dir}}
		if err := c.Run(&command.Program{Context: t.Context(), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(out); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has the mode %v, %v, want %v", out, info.Mode(), err, want)
		}
	}
	file, fifo := filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "fifo")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run(file, 0o600)
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(fifo, 0o644); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() {
		f, err := os.Open(fifo)
		if err == nil {
			_, err = io.Copy(io.Discard, f)
		}
		read <- err
	}()
	run(fifo, 0o644)
	if err := <-read; err != nil {
		t.Error(err)
	}
}
