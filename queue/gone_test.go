package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/queue/disk"
	"pingline/queue/record"
)

// Once files of the log are not those that were opened, no append succeeds, the
// reason is told within seconds, and nothing is made anew in their place.
func TestFilesGone(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(dir string) error
	}{
		{"all of it is deleted", os.RemoveAll},
		{"what is in it is deleted", func(dir string) error {
			list, err := os.ReadDir(dir)
			for _, f := range list {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, f.Name())))
			}
			return err
		}},
		{"the messages are deleted", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "jetstream")) }},
		{"the newest block is deleted", func(dir string) error {
			return os.Remove(filepath.Join(dir, "jetstream", "$G", "streams", "PINGLINE", "msgs", "1.blk"))
		}},
		{"a copy stands in its place", func(dir string) error {
			old := dir + ".old"
			return errors.Join(os.Rename(dir, old), os.CopyFS(dir, os.DirFS(old)))
		}},
		{"it was moved", func(dir string) error { return os.Rename(dir, dir+".old") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "log")
			l, err := Open(testContext(t), Config{Dir: dir, CacheBytes: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }() // the cursors cannot be kept
			fill(t, l, 20, 1000)
			if err := tt.harm(dir); err != nil {
				t.Fatal(err)
			}
			if n, err := l.Append(testContext(t), payload(21, 1000), totals(21), false); err == nil {
				t.Fatalf("Append = %d after the files are gone", n)
			}
			eventually(t, "the reason is told", func() bool { return l.Trouble() != nil })
			<-l.Troubled()
			if text := l.Trouble().Error(); !strings.Contains(text, dir) || !strings.Contains(text, "deleted or replaced") {
				t.Errorf("Trouble = %s", text)
			}
			ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
			defer cancel()
			if n, _, err := l.Settle(ctx, nil); err == nil {
				t.Errorf("Settle = %d in a directory that is gone", n)
			}
			if _, err := os.Stat(filepath.Join(dir, "jetstream")); tt.name == "all of it is deleted" && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the log was made anew: %v", err)
			}
		})
	}
}

// Small files that are deleted, one by one, are missed within seconds without
// any append; what belongs to others can be watched too.
func TestSmallFilesGone(t *testing.T) {
	for _, name := range []string{disk.LockFile, cursorsFile, highWaterFile, "../other"} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "log")
			path := filepath.Join(dir, name)
			l, err := Open(testContext(t), Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			if strings.HasPrefix(name, "..") {
				l.Watch(path) // it comes later
				if err := os.Mkdir(path, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := l.watched.Check(); err != nil {
					t.Fatal(err)
				}
			}
			select {
			case <-l.Troubled():
				t.Fatal(l.Trouble())
			default:
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			<-l.Troubled()
			if text := l.Trouble().Error(); !strings.Contains(text, filepath.Base(name)) {
				t.Errorf("Trouble = %s", text)
			}
		})
	}
}

// A file or a record of a later version is neither damage nor overwritten.
func TestNewerVersion(t *testing.T) {
	t.Run("cursors", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Config{Dir: dir})
		fill(t, l, 3, 100)
		l.SetCursor("a", Cursor{Next: 2, Totals: totals(1)})
		shut(t, l)
		path := filepath.Join(dir, cursorsFile)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		newer := strings.Replace(string(b), "pingline cursors 1 ", "pingline cursors 2 ", 1)
		if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(testContext(t), Config{Dir: dir}); !errors.Is(err, ErrNewer) {
			t.Fatalf("Open = %v, %v, want ErrNewer", l, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != newer {
			t.Errorf("the cursors were overwritten: %s, %v", b, err)
		}
	})
	t.Run("a record", func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Config{Dir: dir})
		fill(t, l, 3, 100)
		r := Record{Number: 4, Before: totals(3), Totals: totals(4)}
		b := record.Encode(&r)
		b[0] = record.Version + 1
		if err := l.session().Put(testContext(t), patience, b, 0, 3); err != nil {
			t.Fatal(err)
		}
		shut(t, l)
		if l, err := Open(testContext(t), Config{Dir: dir}); !errors.Is(err, ErrNewer) {
			t.Fatalf("Open = %v, %v, want ErrNewer", l, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	l := open(b, Config{})
	fill(b, l, 3, 100)
	for b.Loop() {
		if err := l.Check(); err != nil {
			b.Fatal(err)
		}
		if err := sessionOf(l).Blocks().There(); err != nil {
			b.Fatal(err)
		}
	}
}
