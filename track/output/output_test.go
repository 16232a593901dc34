//go:build unix

package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// content checks what a file holds, and that nothing else is left in its directory.
func content(t *testing.T, path, want string, beside ...string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %q, want %q: %v", path, got, want, err)
	}
	list, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(list) != 1+len(beside) {
		t.Errorf("the directory holds %v: %v", list, err)
	}
}

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOutputReplacesWhenItIsWhole(t *testing.T) {
	for _, tt := range []struct {
		name   string
		commit bool
		want   string
	}{{"committed", true, "new"}, {"discarded", false, "old"}} {
		t.Run(tt.name, func(t *testing.T) {
			path := put(t, filepath.Join(t.TempDir(), strings.Repeat("n", 250)), "old")
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			o, err := Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.WriteString("new"); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); string(got) != "old" {
				t.Errorf("half written, it holds %q: %v", got, err)
			}
			end := o.Discard
			if tt.commit {
				end = o.Commit
			}
			if err := end(); err != nil {
				t.Fatal(err)
			}
			content(t, path, tt.want)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
				t.Errorf("mode %v: %v", info.Mode(), err)
			}
		})
	}
}

func TestOutputThatIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new")
	o, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there before it is whole: %v", err)
	}
	if err := o.Commit(); err != nil {
		t.Fatal(err)
	}
	content(t, path, "")
}

func TestOutputOfALink(t *testing.T) {
	for _, old := range []string{"old", ""} { // "": the link points to nothing
		dir, linked := t.TempDir(), filepath.Join(t.TempDir(), "target")
		if old != "" {
			put(t, linked, old)
		}
		link, further := filepath.Join(dir, "link"), filepath.Join(dir, "further")
		if err := errors.Join(os.Symlink(linked, further), os.Symlink("further", link)); err != nil {
			t.Fatal(err)
		}
		o, err := Create(link)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteString("new"); err != nil {
			t.Fatal(err)
		}
		if err := o.Commit(); err != nil {
			t.Fatal(err)
		}
		content(t, linked, "new")
		content(t, link, "new", "further")
		if to, err := os.Readlink(link); to != "further" {
			t.Errorf("the link points to %q: %v", to, err)
		}
	}
	loop := filepath.Join(t.TempDir(), "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(loop); err == nil {
		t.Error("a link to itself can be written")
	}
}

// Errors name the path that was asked for, and not the file beside it.
func TestErrorsNameThePathAskedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "k.svg")
	_, err := Create(path)
	if want := "open " + path + ": no such file or directory"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("says %v, want %s", err, want)
	}
	path = filepath.Join(t.TempDir(), "k.svg")
	o, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := o.WriteString("new"); err == nil || err.Error() != "write "+path+": file already closed" {
		t.Errorf("writing says %v", err)
	}
	if err := o.Commit(); err == nil || !strings.HasPrefix(err.Error(), "sync "+path+": file already closed") {
		t.Errorf("committing says %v", err)
	}
}

// What is no ordinary file, or is open already, is written and not replaced.
func TestOutputInItsPlace(t *testing.T) {
	open, err := os.Create(filepath.Join(t.TempDir(), "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	before, err := open.Stat()
	if err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(os.DevNull, link); err != nil {
		t.Fatal(err)
	}
	paths := []string{os.DevNull, link, fifo}
	if _, err := os.Stat("/dev/fd/0"); err == nil {
		paths = append(paths, "/dev/fd/"+strconv.Itoa(int(open.Fd())))
	}
	for _, path := range paths {
		o, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.WriteString("new"); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := o.Commit(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	got := make([]byte, 10)
	if n, err := reader.Read(got); string(got[:n]) != "new" {
		t.Errorf("the FIFO carried %q: %v", got[:n], err)
	}
	if after, err := os.Stat(open.Name()); err != nil || !os.SameFile(before, after) {
		t.Errorf("the open file was replaced: %v", err)
	}
	if info, err := os.Stat(fifo); err != nil || info.Mode().Type() != fs.ModeNamedPipe {
		t.Errorf("the FIFO has become %v: %v", info.Mode(), err)
	}
}

// A file that cannot be moved into place, as it is a mount, is copied.
func TestOutputIsCopied(t *testing.T) {
	from, to := put(t, filepath.Join(t.TempDir(), "from"), "new"), put(t, filepath.Join(t.TempDir(), "to"), "older")
	if err := copyOver(from, to); err != nil {
		t.Fatal(err)
	}
	content(t, to, "new")
}

func TestOutputNowhere(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "no", "file"), filepath.Join(put(t, filepath.Join(dir, "file"), ""), "in it")} {
		if o, err := Create(path); err == nil {
			t.Errorf("%s can be written", path)
			_ = o.Discard()
		}
	}
}
