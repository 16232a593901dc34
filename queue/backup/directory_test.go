package backup

import (
	"archive/tar"
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pingline/queue"
)

// A data directory may be a symbolic link, or where a disk is mounted. A link in place of a
// part of it is refused, since its files would be missing.
func TestBackupOfALinkedDirectory(t *testing.T) {
	there := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(there, "lost+found"), 0), os.Mkdir(filepath.Join(there, "filter"), 0o700), os.WriteFile(filepath.Join(there, "filter", "1.checkpoint"), []byte("state"), 0o600)); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "data")
	if err := os.Symlink(there, link); err != nil {
		t.Fatal(err)
	}
	l := open(t, link)
	add(t, l, 5)
	var b bytes.Buffer
	if sum, err := Write(t.Context(), &b, Original{Log: l, Dir: link}); err != nil || sum.Files != 1 || sum.Records != 5 {
		t.Errorf("the backup is %+v, %v", sum, err)
	}
	to := t.TempDir()
	if err := os.Mkdir(filepath.Join(to, "lost+found"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), &b, to); err != nil {
		t.Error(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(there, "deadletter")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), &b, Original{Log: l, Dir: link}); err == nil || !strings.Contains(err.Error(), "deadletter") {
		t.Errorf("a directory that is elsewhere: %v", err)
	}
}

// The remains of a restoration are in no backup, and names that lead into the log or into the
// restoration are refused.
func TestNamesThatAreNotForFiles(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, aside), 0o700), os.WriteFile(filepath.Join(dir, aside, "part"), []byte("part"), 0o600)); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	add(t, l, 5)
	var b bytes.Buffer
	if sum, err := Write(t.Context(), &b, Original{Log: l, Dir: dir}); err != nil || sum.Files != 0 {
		t.Errorf("the backup is %+v, %v", sum, err)
	}
	for _, name := range []string{"./log/jetstream", "a/../log/cursors", "../a", "/a", "log", ".", "a//b", aside, aside + "/a"} {
		var b bytes.Buffer
		a := &archive{tar: tar.NewWriter(&b)}
		if err := errors.Join(a.json(headName, Origin{Form: Form}), a.entry(dataPrefix+name, []byte("x"))); err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		if _, err := Restore(t.Context(), &b, to); !errors.Is(err, ErrDamaged) {
			t.Errorf("a file called %q: %v", name, err)
		}
		if list, err := os.ReadDir(to); err != nil || len(list) > 0 {
			t.Errorf("a file called %q leaves %v, %v", name, list, err)
		}
	}
}

// A backup holds the log back while it copies files, too: once the log is nearly full it gives
// up, however long the files are.
func TestBackupOfFilesGivesUpWhenTheLogIsFull(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := queue.Open(t.Context(), queue.Config{Dir: filepath.Join(dir, LogDir), MaxBytes: 4 << 20, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	add(t, l, 5)
	l.SetCursor("a", l.Head())
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := &meanwhile{&b, func() {
		for l.Room() >= l.Limit()/leastRoom {
			head := l.Head()
			if _, err := l.Append(t.Context(), make([]byte, 64<<10), head.Totals, false); err != nil {
				t.Fatal(err)
			}
			l.SetCursor("a", l.Head())
		}
		if err := l.KeepCursors(); err != nil {
			t.Fatal(err)
		}
	}}
	if _, err := Write(t.Context(), w, Original{Log: l, Dir: dir}); err == nil || !strings.Contains(err.Error(), "nearly full") {
		t.Errorf("the log is full: %v", err)
	}
	if b.Len() > 256<<10 {
		t.Errorf("it went on for %d bytes", b.Len())
	}
	if _, err := l.Drop(); err != nil || l.Bytes() > 1<<20 {
		t.Errorf("the log is not let go: %d bytes, %v", l.Bytes(), err)
	}
}

// The totals of records that are lost are kept, also where no cursor stands.
func TestBackupOfALogOfWhichNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	if err := queue.Begin(filepath.Join(dir, LogDir), cursorAt(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := queue.Begin(filepath.Join(dir, LogDir), cursorAt(40, 0)); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	l.SetCursor("a", cursorAt(40, 0))
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	sum, err := Write(t.Context(), &b, Original{Log: l, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if _, err := Restore(t.Context(), &b, to); err != nil {
		t.Fatalf("%+v: %v", sum, err)
	}
	if got := open(t, to); got.LastTotals() != cursorAt(40, 0).Totals || got.Last() != 39 {
		t.Errorf("the restored log ends at %d with %v, want %v", got.Last(), got.LastTotals(), cursorAt(40, 0).Totals)
	}
}
