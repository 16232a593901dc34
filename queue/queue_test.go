package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // in the error
	}{
		{"no directory", Config{}, "Dir is empty"},
		{"negative limit", Config{Dir: dir, MaxBytes: -1}, "MaxBytes -1"},
		{"negative timeout", Config{Dir: dir, AppendTimeout: -time.Second}, "AppendTimeout -1s"},
		{"a reserve of all", Config{Dir: dir, MaxBytes: 1000, Reserve: 1000}, "Reserve of 1000 leaves nothing"},
		{"no URL", Config{Dir: dir, URL: "nats://us er:s3cret@"}, "Config.URL"},
		{"nobody there", Config{Dir: dir, URL: "nats://user:s3cret@127.0.0.1:1,s3cret@127.0.0.1:2"}, "127.0.0.1:1,127.0.0.1:2"},
		{"a file in the way", Config{Dir: file}, "file"},
		{"a file above", Config{Dir: filepath.Join(file, "log")}, "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := Open(testContext(t), tt.cfg)
			if err == nil {
				t.Fatal(l.Close())
			}
			if text := err.Error(); !strings.Contains(text, tt.want) || strings.Contains(text, "s3cret") {
				t.Errorf("Open: %v, want one that says %q and no secret", err, tt.want)
			}
		})
	}
}

// A directory is for one log at a time, in this process or in another.
func TestLocked(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir = filepath.Join(t.TempDir(), "not", "there", "yet")
		l := open(t, cfg)
		fill(t, l, 3, 100)
		if other, err := Open(testContext(t), cfg); !errors.Is(err, ErrLocked) {
			t.Fatalf("Open of a directory in use = %v, %v, want ErrLocked", other, err)
		}
		out, err := child(t, "open", cfg.Dir, cfg.URL).CombinedOutput()
		if err == nil || !strings.Contains(string(out), ErrLocked.Error()) {
			t.Errorf("another process opened it: %v, %s", err, out)
		}
		fill(t, l, 3, 100)
		shut(t, l)
		l = open(t, cfg)
		checkTold(t, "a reader was told", readTo(t, l, 1, 6), nil)
	})
}

func TestRelativeDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{".", "./a", "a/b/", "a/../c"} {
		l := open(t, Config{Dir: dir})
		fill(t, l, 3, 100)
		if got := sessionOf(l).Blocks().Newest(); got != 1 {
			t.Errorf("in %q the last synced block is %d, want 1", dir, got)
		}
		shut(t, l)
	}
}

// When Open fails it leaves nothing behind, and can be called again.
func TestOpenFails(t *testing.T) {
	srv := startNATS(t, t.TempDir())
	cfg := Config{Dir: t.TempDir(), URL: srv.ClientURL(), Replicas: 3} // of one server
	for range 2 {
		if _, err := Open(testContext(t), cfg); err == nil || errors.Is(err, ErrLocked) {
			t.Fatalf("Open: %v, want what the server says of replicas", err)
		}
	}
	cfg.Replicas = 1
	fill(t, open(t, cfg), 1, 100)
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	if _, err := Open(ctx, Config{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v, want Canceled", err)
	}
	eventually(t, "only the open log has goroutines", func() bool { return goroutines() <= 2 }) // it keeps house, and its hold on the servers
}

// goroutines counts the goroutines of this package and of those below it, without
// the tests'.
func goroutines() (n int) {
	b := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if (strings.Contains(stack, "pingline/queue.") || strings.Contains(stack, "pingline/queue/")) && !strings.Contains(stack, "testing.tRunner") && !strings.Contains(stack, "queue.(*proxy)") {
			n++
		}
	}
	return n
}

// A closed log refuses every request, and nothing of it goes on.
func TestClose(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.CacheBytes = 1
		l := open(t, cfg)
		fill(t, l, 50, 50_000)
		for range 5 {
			r := l.Read(1) // never closed
			if _, err := r.Next(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		l.SetCursor("a", Cursor{Next: 5})
		shut(t, l)
		shut(t, l)
		if n, err := l.Append(testContext(t), nil, Totals{}, true); !errors.Is(err, ErrClosed) {
			t.Errorf("Append = %d, %v, want ErrClosed", n, err)
		}
		if n, _, err := l.Settle(testContext(t), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("Settle = %d, %v, want ErrClosed", n, err)
		}
		if err := l.Trim(40); err != nil {
			t.Errorf("Trim: %v, want nothing done", err)
		}
		if err := l.adopt(l.session()); !errors.Is(err, ErrClosed) {
			t.Errorf("what Settle opened too late is taken: %v", err)
		}
		l.SetCursor("a", Cursor{Next: 9})
		if err := l.KeepCursors(); !errors.Is(err, ErrClosed) {
			t.Errorf("KeepCursors: %v, want ErrClosed", err)
		}
		if l.First() != 1 || l.Last() != 50 || l.MaxPayload() == 0 {
			t.Errorf("records %d to %d", l.First(), l.Last())
		}
		eventually(t, "its goroutines end", func() bool { return goroutines() == 0 })
	})
}

// Close while others are at work: they fail or are done, and the directory is
// free for the next.
func TestCloseAtWork(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir, cfg.MaxBytes = t.TempDir(), 1<<20
		var acked uint64
		for range 10 {
			l := open(t, cfg)
			work := make(chan error, 2)
			begun := make(chan struct{}, 100)
			go func() {
				for {
					n, err := l.Append(testContext(t), payload(1, 20_000), Totals{}, true)
					begun <- struct{}{}
					switch {
					case errors.Is(err, ErrFull):
						err = l.Trim(l.Last())
					case errors.Is(err, ErrUnclear):
						_, _, err = l.Settle(testContext(t), payload(1, 8))
					case err == nil && n%3 == 0:
						n, _, err = l.Settle(testContext(t), payload(1, 8))
					}
					if err != nil {
						work <- err
						return
					}
					acked = max(acked, n)
				}
			}()
			go func() {
				for {
					l.SetCursor("a", Cursor{Next: max(l.Last(), 20) - 10})
					if err := errors.Join(l.TrimKept(), l.KeepCursors()); err != nil {
						work <- err
						return
					}
				}
			}()
			<-begun
			<-begun
			shut(t, l)
			after := open(t, cfg) // at once
			for range 2 {
				if err := <-work; !errors.Is(err, ErrClosed) {
					t.Errorf("work on a closed log: %v, want ErrClosed", err)
				}
			}
			if after.Last() < acked {
				t.Errorf("Last = %d, acknowledged were %d", after.Last(), acked)
			}
			shut(t, after)
		}
		eventually(t, "all goroutines end", func() bool { return goroutines() == 0 })
	})
}

// The entries of directories and blocks are synced as they come.
func TestBlockDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	for range 2 {
		for range 3 {
			fill(t, l, 130, 64<<10)
			st := sessionOf(l)
			if got, want := st.Blocks().Newest(), uint64(len(blocks(t, dir))); got != want {
				t.Errorf("the last synced block is %d, want %d", got, want)
			}
		}
		shut(t, l)
		l = open(t, Config{Dir: dir})
	}
}

// A new directory at a stream that others have trimmed knows nothing of that,
// and takes nothing for lost.
func TestNewDirectoryOldStream(t *testing.T) {
	url := startNATS(t, t.TempDir()).ClientURL()
	l := open(t, Config{URL: url, MaxBytes: 1 << 20})
	fill(t, l, 60, 10_000)
	if err := l.Trim(50); err != nil || l.First() != 50 {
		t.Fatalf("First = %d, %v, want 50", l.First(), err)
	}
	shut(t, l)
	dir := t.TempDir()
	for range 2 {
		l = open(t, Config{Dir: dir, URL: url})
		if l.First() != 50 || l.Last() != 60 || l.LastTotals() != totals(60) || len(l.Damage()) > 0 {
			t.Errorf("records %d to %d, totals %v, lost %v", l.First(), l.Last(), l.LastTotals(), l.Damage())
		}
		r := l.Read(1)
		rec, err := r.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec, 50)
		shut(t, l)
	}
}
