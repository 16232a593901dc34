package deadletter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pingline"
	"pingline/sink/store"
)

func testLetters(t *testing.T) *Dir {
	t.Helper()
	return &Dir{dir: t.TempDir(), perFile: FileBytes}
}

// bury makes rows letters of shard b.
func bury(d *Dir, rows ...string) (int, error) {
	return d.Append(context.Background(), len(rows), func(i int) Letter {
		return Letter{Shard: "b", Cause: store.Other, Reason: "no <good>", Entry: pingline.Entry{Kind: pingline.ReplayedNano, Line: rows[i]}}
	})
}

func mustBury(t *testing.T, d *Dir, rows ...string) {
	t.Helper()
	if n, err := bury(d, rows...); err != nil || n != len(rows) {
		t.Fatalf("append of %d rows = %d, %v", len(rows), n, err)
	}
}

// buried returns the lines of all dead letters, and how many cannot be read.
func buried(d *Dir) (lines []string, unreadable int) {
	for l, err := range d.All() {
		if err != nil {
			unreadable++
			continue
		}
		lines = append(lines, l.Entry.Line)
	}
	return lines, unreadable
}

func rows(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("m v=%d %d", i%3, i)
	}
	return list
}

func TestLettersTornByACrash(t *testing.T) {
	whole := `{"at":"2026-01-01T00:00:00Z","shard":"a","reason":"r","status":400,"line":"x"}` + "\n"
	for _, tt := range []struct{ name, before, kept string }{
		{"no file", "", ""},
		{"whole", whole, whole},
		{"torn", whole + whole[:20], whole},
		{"nothing but a torn one", whole[:20], ""},
		{"torn far behind", whole + strings.Repeat("x", 10_000), whole},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testLetters(t)
			path := filepath.Join(d.dir, nextName(nil))
			if tt.before != "" {
				if err := os.WriteFile(path, []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if lines, bad := buried(d); len(lines) != strings.Count(tt.kept, "\n") || bad != 0 {
				t.Errorf("read %q and %d that cannot be", lines, bad)
			}
			mustBury(t, d, "m v=1 1", `m,t="é" v=2 2`)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(string(b), tt.kept)
			if !ok || strings.Count(rest, "\n") != 2 || !strings.Contains(rest, `"shard":"b"`) || !strings.Contains(rest, `"line":"m v=1 1"`) {
				t.Errorf("the file is\n%s", b)
			}
		})
	}
}

func TestLettersFull(t *testing.T) {
	d := testLetters(t)
	d.most = 1000
	n, err := bury(d, rows(100)...)
	if !errors.Is(err, ErrFull) || n < 2 || n > 20 {
		t.Fatalf("append of 100 rows = %d, %v", n, err)
	}
	if again, err := bury(d, rows(1)...); !errors.Is(err, ErrFull) || again != 0 {
		t.Errorf("append to full ones = %d, %v", again, err)
	}
	lines, _ := buried(d)
	if used, err := d.Bytes(); err != nil || used > 1000 || !slices.Equal(lines, rows(n)) {
		t.Errorf("%d bytes (%v) hold %q, want %d rows", used, err, lines, n)
	}
	if moved, err := d.Replay(t.Context(), every); err != nil || moved != n {
		t.Fatalf("Replay = %d, %v", moved, err)
	}
	if n, err := bury(d, rows(1)...); !errors.Is(err, ErrFull) || n != 0 {
		t.Errorf("what waits to be replayed takes no room: %d, %v", n, err)
	}
	if _, err := d.TakeReplays(t.Context(), func([]*Letter) error { return nil }); err != nil {
		t.Fatal(err)
	}
	mustBury(t, d, "m v=1 1")
}

func every(*Letter) bool { return true }

func TestLettersGoOnInAnotherFile(t *testing.T) {
	d := testLetters(t)
	d.perFile = 500
	var all []string
	for i := range 40 {
		all = append(all, fmt.Sprintf("m v=%d %d", i, i))
		mustBury(t, d, all[i])
	}
	names, err := filesIn(d.dir, letterExt)
	if err != nil || len(names) < 5 {
		t.Fatalf("files %q, %v", names, err)
	}
	for _, name := range names {
		if info, err := os.Stat(filepath.Join(d.dir, name)); err != nil || info.Size() > 500 {
			t.Errorf("%s has %d bytes, %v", name, info.Size(), err)
		}
	}
	if got, bad := buried(d); !slices.Equal(got, all) || bad != 0 {
		t.Errorf("%d letters and %d that cannot be read, want %d in order", len(got), bad, len(all))
	}
	if err := os.Remove(filepath.Join(d.dir, names[1])); err != nil {
		t.Fatal(err)
	}
	mustBury(t, d, "m v=1 99")
	if got, _ := buried(d); len(got) >= len(all) || got[len(got)-1] != "m v=1 99" {
		t.Errorf("with a file taken away: %q", got)
	}
}

func TestLettersWithoutDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := &Dir{dir: filepath.Join(file, "deadletter")}
	if n, err := bury(d, "m v=1 1"); err == nil || errors.Is(err, ErrFull) || n != 0 {
		t.Errorf("append = %d, %v, want the disk's error", n, err)
	}
	for _, dir := range []string{file, file + "-not-there"} {
		if _, err := Open(dir); err == nil {
			t.Errorf("Open(%q) took it", dir)
		}
	}
}

// An append waits while another process changes the directory.
func TestLettersAreLocked(t *testing.T) {
	d := testLetters(t)
	other := *d
	unlock, err := other.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spent, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Replay(spent, every); err != nil {
		t.Errorf("Replay of nothing = %v", err)
	}
	if err := d.Accept(spent, "a", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Accept of a locked directory = %v", err)
	}
	done := make(chan error)
	go func() { _, err := bury(d, "m v=1 1"); done <- err }()
	if got, _ := buried(d); len(got) != 0 { // reading needs no lock
		t.Errorf("letters %q are there", got)
	}
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestReplayMovesWhatIsChosen(t *testing.T) {
	d := testLetters(t)
	d.perFile = 2000
	all := rows(100)
	for i := range all {
		mustBury(t, d, all[i])
	}
	ones := func(l *Letter) bool { return strings.Contains(l.Entry.Line, "v=1") }
	if n, err := d.Replay(t.Context(), func(*Letter) bool { return false }); n != 0 || err != nil {
		t.Errorf("Replay of none = %d, %v", n, err)
	}
	// A line that cannot be read stays where it is.
	names, _ := filesIn(d.dir, letterExt)
	broken := filepath.Join(d.dir, names[1])
	for _, line := range []string{"not json\n", "null\n", `{"line":""}` + "\n", `{"line":"a\nb"}` + "\n", `{"line":"` + strings.Repeat("x", pingline.MaxReadyLine+1) + `"}` + "\n", "\n"} {
		appendTo(t, broken, line)
	}
	if n, err := d.Replay(t.Context(), ones); n != 33 || err != nil {
		t.Fatalf("Replay = %d, %v, want 33", n, err)
	}
	rest, bad := buried(d)
	if len(rest) != 67 || bad != 5 || slices.ContainsFunc(rest, func(s string) bool { return strings.Contains(s, "v=1") }) {
		t.Errorf("%d letters stay, %d that cannot be read", len(rest), bad)
	}
	if n, err := d.Replay(t.Context(), every); n != 67 || err != nil {
		t.Fatalf("Replay of the rest = %d, %v", n, err)
	}
	if rest, bad := buried(d); len(rest) != 0 || bad != 5 {
		t.Errorf("%d letters stay, %d that cannot be read", len(rest), bad)
	}
	got, n, err := take(t, d)
	slices.Sort(got)
	slices.Sort(all)
	if !slices.Equal(got, all) || n != 100 || err != nil {
		t.Errorf("taken: %d, %v", n, err)
	}
	if files, err := d.Replaying(); files != 0 || err != nil {
		t.Errorf("%d files wait, %v", files, err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// take takes all replays and returns their lines.
func take(t *testing.T, d *Dir) (lines []string, n int, err error) {
	t.Helper()
	n, err = d.TakeReplays(t.Context(), func(list []*Letter) error {
		for _, l := range list {
			lines = append(lines, l.Entry.Line)
		}
		return nil
	})
	return lines, n, err
}

func TestTakeReplaysBeginsAnewAfterAnError(t *testing.T) {
	d := testLetters(t)
	mustBury(t, d, rows(20_000)...)
	if n, err := d.Replay(t.Context(), every); n != 20_000 || err != nil {
		t.Fatal(n, err)
	}
	full := errors.New("the log is full")
	calls := 0
	n, err := d.TakeReplays(t.Context(), func([]*Letter) error {
		if calls++; calls == 2 {
			return full
		}
		return nil
	})
	if n != 0 || !errors.Is(err, full) || calls != 2 {
		t.Fatalf("TakeReplays = %d, %v after %d calls", n, err, calls)
	}
	stopped, cancel := context.WithCancel(t.Context())
	if _, err := d.TakeReplays(stopped, func([]*Letter) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if got, n, err := take(t, d); !slices.Equal(got, rows(20_000)) || n != 20_000 || err != nil {
		t.Errorf("taken: %d, %v", n, err)
	}
}

func TestTakeReplaysKeepsWhatCannotBeRead(t *testing.T) {
	d := testLetters(t)
	mustBury(t, d, rows(2)...)
	if _, err := d.Replay(t.Context(), every); err != nil {
		t.Fatal(err)
	}
	name := nextName(nil)
	path := filepath.Join(d.replayDir(), name)
	appendTo(t, path, "edited by hand\n")
	if got, n, err := take(t, d); !slices.Equal(got, rows(2)) || n != 2 || err == nil || !strings.Contains(err.Error(), name+", line 3") {
		t.Errorf("taken: %d %q, %v", n, got, err)
	}
	if b, err := os.ReadFile(path + ".unreadable"); err != nil || !strings.HasSuffix(string(b), "\nedited by hand\n") {
		t.Errorf("kept: %q, %v", b, err)
	}
	if got, n, err := take(t, d); len(got) != 0 || n != 0 || err != nil {
		t.Errorf("taken again: %d, %v", n, err)
	}
}

// Names of replayed files come again. A file that cannot be read is kept beside one
// of before, and not in its place.
func TestTakeReplaysKeepsEachFileThatCannotBeRead(t *testing.T) {
	d := testLetters(t)
	for i := range 3 {
		mustBury(t, d, rows(1)...)
		if _, err := d.Replay(t.Context(), every); err != nil {
			t.Fatal(err)
		}
		appendTo(t, filepath.Join(d.replayDir(), nextName(nil)), fmt.Sprintf("edit %d\n", i))
		if _, _, err := take(t, d); err == nil {
			t.Fatal("the line that cannot be read is not told")
		}
	}
	files, err := filesIn(d.replayDir(), unreadableExt)
	if err != nil {
		t.Fatal(err)
	}
	var kept string
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(d.replayDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		kept += string(b)
	}
	for i := range 3 {
		if !strings.Contains(kept, fmt.Sprintf("edit %d\n", i)) {
			t.Errorf("edit %d is lost: %q", i, files)
		}
	}
}

// killAt is how a test runs itself as a process that is to die at some step.
const killAt = "PINGLINE_TEST_KILL_AT"

// lucky picks the letters that the dying process replays.
func lucky(l *Letter) bool { return !strings.Contains(l.Entry.Line, "v=1") }

// dying replays the lucky letters in dir and takes them, which it notes in a file
// beside; at some step it is killed.
func dying(t *testing.T, dir, step string) {
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	left, err := strconv.Atoi(step)
	if err != nil {
		t.Fatal(err)
	}
	d.step = func() {
		if left--; left < 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if _, err := d.Replay(t.Context(), lucky); err != nil {
		t.Fatal(err)
	}
	_, err = d.TakeReplays(t.Context(), func(list []*Letter) error {
		for _, l := range list {
			appendTo(t, dir+".taken", l.Entry.Line+"\n")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A replay may die at any step: each chosen letter is taken in the end, then
// or by the next replay, and no other letter is touched.
func TestReplayKilledAtEachStep(t *testing.T) {
	if step := os.Getenv(killAt); step != "" {
		dying(t, os.Getenv(killAt+"_DIR"), step)
		return
	}
	for step, killed := 0, true; killed; step++ {
		d := &Dir{dir: filepath.Join(t.TempDir(), "deadletter"), perFile: 1}
		if err := os.Mkdir(d.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		mustBury(t, d, "m v=0 1", "m v=0 2") // a file that moves as a whole
		mustBury(t, d, rows(30)...)          // and one of which a part does
		killed = dies(t, step, d.dir)
		mustBury(t, d, "m v=1 3") // the lanes go on
		taken, err := os.ReadFile(d.dir + ".taken")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if _, err := d.Replay(t.Context(), lucky); err != nil {
			t.Fatal(err)
		}
		got, _, err := take(t, d)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.Split(strings.TrimSpace(string(taken)), "\n")...)
		want, stay := []string{"m v=0 1", "m v=0 2"}, []string(nil)
		for _, r := range rows(30) {
			if lucky(&Letter{Entry: pingline.Entry{Line: r}}) {
				want = append(want, r)
			} else {
				stay = append(stay, r)
			}
		}
		for _, r := range want {
			if !slices.Contains(got, r) {
				t.Errorf("killed at step %d: %q is lost", step, r)
			}
		}
		if rest, bad := buried(d); !slices.Equal(rest, append(stay, "m v=1 3")) || bad != 0 {
			t.Errorf("killed at step %d: %q stay", step, rest)
		}
		if aside, err := filesIn(d.dir, asideExt); len(aside) > 0 || err != nil {
			t.Errorf("killed at step %d: %q are left behind, %v", step, aside, err)
		}
		if !killed && step < 10 {
			t.Errorf("there are %d steps, want at least 10", step)
		}
	}
}

// dies reports whether a process that was to die at step did.
func dies(t *testing.T, step int, dir string) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestReplayKilledAtEachStep$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", killAt, step), killAt+"_DIR="+dir)
	out, err := cmd.CombinedOutput()
	exit := new(exec.ExitError)
	if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
		t.Fatalf("step %d: %v\n%s", step, err, out)
	}
	return err != nil
}

func TestLetterOfNoKnownPrecision(t *testing.T) {
	if l, err := parseLetter([]byte(`{"line":"m v=1 1","precision":"us"}`)); err == nil {
		t.Errorf("a letter in us is taken: %+v", l.Letter)
	}
}

// A directory that this user may not read is told before anything is read.
func TestOpenOfAForbiddenDirectory(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, os.ErrPermission) {
		t.Errorf("opened: %v", err)
	}
}
