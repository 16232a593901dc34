package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A directory that is locked is refused, and free again when the lock is closed.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	if err := MakeDir(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		held, err := Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		if other, err := Lock(dir); !errors.Is(err, ErrLocked) {
			t.Errorf("Lock of a locked directory = %v, %v, want ErrLocked", other, err)
		}
		if err := held.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A file is replaced whole, and a write that fails leaves the old one.
func TestWriteAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, text := range []string{"a longer text", "short"} {
		if err := WriteAside(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("the file holds %q, %v, want %q", b, err, text)
		}
	}
	if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteAside(path, []byte("never")); err == nil {
		t.Error("WriteAside wrote where it cannot")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "short" {
		t.Errorf("the file holds %q, %v after a write that failed", b, err)
	}
}

// The spare file takes up its room as long as it is kept, and a probe leaves nothing.
func TestSpareAndProbe(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := errors.Join(KeepSpare(dir), Probe(dir, 1000)); err != nil {
			t.Fatal(err)
		}
		if n, err := Used(dir); err != nil || n != SpareBytes {
			t.Errorf("Used = %d, %v, want %d", n, err, SpareBytes)
		}
	}
	for range 2 {
		if err := DropSpare(dir); err != nil {
			t.Fatal(err)
		}
		if n, err := Used(dir); err != nil || n != 0 {
			t.Errorf("Used = %d, %v after DropSpare, want 0", n, err)
		}
	}
	if err := Probe(filepath.Join(dir, "none"), 1); err == nil {
		t.Error("Probe of a directory that is not there says that it takes bytes")
	}
	if bytes.Equal(incompressible(100), incompressible(100)) {
		t.Error("bytes that repeat may take no room")
	}
}

// A file that is another by now is told, a file that is replaced in our own way only
// if there is none.
func TestWatched(t *testing.T) {
	dir := t.TempDir()
	same, named, later := filepath.Join(dir, "same"), filepath.Join(dir, "named"), filepath.Join(dir, "later")
	write := func(path string) {
		t.Helper()
		if err := WriteAside(path, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(same)
	write(named)
	var w Watched
	w.Add(same)
	w.AddName(named)
	w.Add(later)
	write(named)
	for range 2 { // later is not there, then it is
		if err := w.Check(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(later); err != nil {
			write(later)
		}
	}
	watch := func() *Watched {
		w := new(Watched)
		w.Add(later)
		w.Add(same)
		w.AddName(named)
		return w
	}
	for _, path := range []string{later, same, named} {
		replaced := watch()
		write(path)
		if err := replaced.Check(); errors.Is(err, ErrGone) != (path != named) {
			t.Errorf("%s is another: Check = %v", path, err)
		}
		gone := watch()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := gone.Check(); !errors.Is(err, ErrGone) {
			t.Errorf("%s is gone: Check = %v, want ErrGone", path, err)
		}
		write(path)
	}
}
