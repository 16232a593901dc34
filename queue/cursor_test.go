package queue

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Cursors are kept by themselves, and a crash leaves what was kept.
func TestCursorsAreKept(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir, cfg.unowned = t.TempDir(), true // a copy of a directory stands for a crash
		l := open(t, cfg)
		fill(t, l, 10, 100)
		if at, ok := l.Cursor("a"); ok {
			t.Errorf("a cursor nobody set stands at %v", at)
		}
		a, b := Cursor{Next: 4, Totals: totals(3)}, Cursor{Next: 8, Totals: totals(7)}
		l.SetCursor("a", a)
		l.SetCursor("b", b)
		if at, ok := l.Cursor("a"); !ok || at != a {
			t.Errorf("Cursor(a) = %v, %v, want %v", at, ok, a)
		}
		want := map[string]Cursor{"a": a, "b": b}
		eventually(t, "the cursors are kept", func() bool { return maps.Equal(l.Kept(), want) })
		crashed := t.TempDir()
		copyDir(t, cfg.Dir, crashed)

		l.DropCursor("a")
		l.DropCursor("nobody")
		if _, ok := l.Cursor("a"); ok {
			t.Error("a dropped cursor is there")
		}
		l.SetCursor("b", Cursor{Next: 9, Totals: totals(8)})
		shut(t, l)
		want = map[string]Cursor{"b": {Next: 9, Totals: totals(8)}}
		l = open(t, cfg)
		if got := l.Kept(); !maps.Equal(got, want) {
			t.Errorf("after Close the cursors are %v, want %v", got, want)
		}
		shut(t, l)
		cfg.Dir = crashed
		l = open(t, cfg)
		for name, want := range map[string]Cursor{"a": a, "b": b} {
			if at, ok := l.Cursor(name); !ok || at != want {
				t.Errorf("after a crash cursor %s stands at %v, %v, want %v", name, at, ok, want)
			}
		}
	})
}

// warnings are what a log complains of.
type warnings struct {
	mu sync.Mutex
	bytes.Buffer
}

func (w *warnings) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Buffer.Write(b)
}

func (w *warnings) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(w.String(), text)
}

func TestCursorsDamaged(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, MaxBytes: 1 << 20})
	fill(t, l, 50, 10_000)
	l.SetCursor("a", Cursor{Next: 41, Totals: totals(40)})
	if err := errors.Join(l.KeepCursors(), l.TrimKept()); err != nil || l.First() != 41 {
		t.Fatalf("First = %d, %v, want 41", l.First(), err)
	}
	shut(t, l)
	whole, err := os.ReadFile(filepath.Join(dir, cursorsFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		file []byte
	}{
		{"empty", nil},
		{"cut short", whole[:len(whole)-5]},
		{"without a body", whole[:bytes.IndexByte(whole, '\n')+1]},
		{"a digit is another", bytes.Replace(whole, []byte(`"next": 41`), []byte(`"next": 31`), 1)},
		{"no JSON", []byte("pingline cursors 1 crc32c 364b3fb7\nabc")},
		{"garbage", bytes.Repeat([]byte{0, 255}, 5000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir2 := t.TempDir()
			copyDir(t, dir, dir2)
			if err := os.WriteFile(filepath.Join(dir2, cursorsFile), tt.file, 0o600); err != nil {
				t.Fatal(err)
			}
			var said warnings
			l := open(t, Config{Dir: dir2, MaxBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			if !said.has("the cursors of the log are lost") {
				t.Errorf("no warning in %q", said.String())
			}
			if at, ok := l.Cursor("a"); ok || len(l.Kept()) > 0 {
				t.Errorf("Cursor(a) = %v of a damaged file", at)
			}
			// Trimmed records cannot be told from lost records, and are not
			// reported.
			if l.First() != 41 || l.Last() != 50 || len(l.Damage()) > 0 {
				t.Errorf("records %d to %d, lost %v", l.First(), l.Last(), l.Damage())
			}
			r := l.Read(1)
			defer r.Close()
			rec, err := r.Next(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			checkRecord(t, rec, 41)
			l.SetCursor("b", Cursor{Next: 42, Totals: totals(41)})
			shut(t, l)
			l = open(t, Config{Dir: dir2})
			if at, ok := l.Cursor("b"); !ok || at.Next != 42 {
				t.Errorf("Cursor(b) = %v, %v after the next start, want 42", at, ok)
			}
		})
	}
}

// Only records that every cursor has passed, in memory and as kept, are dropped;
// the last record is never dropped.
func TestTrimKept(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir, cfg.MaxBytes = t.TempDir(), 1<<20
		l := open(t, cfg)
		fill(t, l, 60, 10_000)
		trims := func(want uint64) {
			t.Helper()
			if err := l.TrimKept(); err != nil {
				t.Fatal(err)
			}
			if l.First() != want {
				t.Fatalf("First = %d, want %d; cursors are kept at %v", l.First(), want, l.Kept())
			}
			accounted(t, l)
			if n := uint64(len(history(t, l))); n != l.Last()+1-want {
				t.Fatalf("%d records, want those from %d on", n, want)
			}
		}
		keep := func() {
			t.Helper()
			if err := l.KeepCursors(); err != nil {
				t.Fatal(err)
			}
		}
		at := func(n uint64) Cursor { return Cursor{Next: n, Totals: totals(n - 1)} }

		trims(1) // nobody has read anything
		l.SetCursor("a", at(20))
		l.SetCursor("b", at(30))
		keep()
		trims(20)
		l.SetCursor("a", at(40))
		keep()
		trims(30)
		l.SetCursor("b", at(35))
		l.SetCursor("c", at(32)) // in memory, and lower
		keep()
		trims(32)
		l.DropCursor("c")
		keep()
		trims(35)
		l.SetCursor("a", at(61))
		l.SetCursor("b", at(61))
		keep()
		trims(60)
		if got := l.BytesSince(61); got != 0 {
			t.Errorf("BytesSince(61) = %d", got)
		}

		// And it carries the totals over the next start, whatever else is gone.
		shut(t, l)
		remove(t, filepath.Join(cfg.Dir, highWaterFile))
		remove(t, filepath.Join(cfg.Dir, cursorsFile))
		l = open(t, cfg)
		if l.First() != 60 || l.Last() != 60 || l.LastTotals() != totals(60) {
			t.Errorf("records %d to %d, totals %v, want 60", l.First(), l.Last(), l.LastTotals())
		}
	})
}

// Few records are not worth a trim while there is room.
func TestTrimWaits(t *testing.T) {
	l := open(t, Config{MaxBytes: 1 << 20})
	fill(t, l, 100, 1000)
	if err := l.Trim(5); err != nil || l.First() != 1 {
		t.Errorf("First = %d after Trim(5), %v, want 1", l.First(), err)
	}
	if err := l.Trim(50); err != nil || l.First() != 50 {
		t.Errorf("First = %d after Trim(50), %v, want 50", l.First(), err)
	}
	fill(t, l, 60, 9000) // more than half full
	if err := l.Trim(55); err != nil || l.First() != 55 {
		t.Errorf("First = %d after Trim(55), %v, want 55", l.First(), err)
	}
	for _, n := range []uint64{0, 1, 54, 55} {
		if err := l.Trim(n); err != nil || l.First() != 55 {
			t.Errorf("First = %d after Trim(%d), %v, want 55", l.First(), n, err)
		}
	}
	if err := l.Trim(1 << 40); err != nil || l.First() != 160 {
		t.Errorf("First = %d after Trim of all, %v, want 160", l.First(), err)
	}
}

// Wherever a crash meets a trim, what was trimmed does not count as lost, and
// nothing else is.
func TestTrimCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, MaxBytes: 40 << 20})
	fill(t, l, 400, 64<<10)
	check := func(name string, first uint64) {
		t.Helper()
		crashed := t.TempDir()
		copyDir(t, dir, crashed)
		l := open(t, Config{Dir: crashed, MaxBytes: 40 << 20})
		if l.First() != first || l.Last() != 400 || l.LastTotals() != totals(400) {
			t.Errorf("%s: records %d to %d, want %d to 400", name, l.First(), l.Last(), first)
		}
		checkTold(t, name+": Damage", l.Damage(), nil)
		checkTold(t, name+": a reader was told", readTo(t, l, l.First(), 400), nil)
		accounted(t, l)
		shut(t, l)
	}
	l.cursors.SetTrimmed(Cursor{Next: 201, Totals: totals(200)})
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	check("noted and not done", 1)
	for _, before := range []uint64{201, 240, 400} {
		if err := l.Trim(before); err != nil || l.First() != before {
			t.Fatalf("First = %d after Trim(%d): %v", l.First(), before, err)
		}
		check(fmt.Sprint("trimmed before ", before), before)
	}
}

// A trim may begin at a record that is lost.
func TestTrimIntoDamage(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, MaxBytes: 30 << 20})
	fill(t, l, 300, 64<<10)
	shut(t, l)
	gone := blocks(t, dir)[1]
	remove(t, gone.path)
	l = open(t, Config{Dir: dir, MaxBytes: 30 << 20})
	if err := l.Trim(gone.first + 5); err != nil {
		t.Fatal(err)
	}
	if l.First() != gone.last()+1 {
		t.Errorf("First = %d, want %d", l.First(), gone.last()+1)
	}
	want := []DamageError{{gone.first, gone.last(), totals(gone.last()).Sub(totals(gone.first - 1))}}
	checkTold(t, "Damage", l.Damage(), want)
	shut(t, l)
	l = open(t, Config{Dir: dir, MaxBytes: 30 << 20})
	for _, e := range l.Damage() {
		if e.From < gone.first+5 || e.To != gone.last() {
			t.Errorf("after the next start %v, want what was not trimmed, from %d on", &e, gone.first+5)
		}
	}
	checkTold(t, "a reader was told", readTo(t, l, l.First(), 300), nil)
}
