package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pingline/queue"
	"pingline/queue/record"
)

func open(t *testing.T, dir string) *queue.Log {
	t.Helper()
	l, err := queue.Open(t.Context(), queue.Config{Dir: filepath.Join(dir, LogDir), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that minds has closed it
	return l
}

// add appends n records whose payload tells their number.
func add(t *testing.T, l *queue.Log, n int) {
	t.Helper()
	for range n {
		head := l.Head()
		head.Totals[0] += head.Next
		head.Totals[2]++
		if _, err := l.Append(t.Context(), payload(head.Next), head.Totals, false); err != nil {
			t.Fatal(err)
		}
	}
}

func payload(number uint64) []byte {
	return fmt.Appendf(nil, "record %d%s", number, strings.Repeat(".", int(number%97)*100))
}

// cursorAt returns the cursor at a record that add appended to a log that never lost any.
func cursorAt(next, passed uint64) queue.Cursor {
	c := queue.Cursor{Next: next, Passed: passed}
	for i := uint64(1); i < next; i++ {
		c.Totals[0] += i
	}
	c.Totals[2] = next - 1
	return c
}

// whole checks that a log has the records from first to last, but for some.
func whole(t *testing.T, l *queue.Log, first, last uint64, lost ...uint64) {
	t.Helper()
	if l.First() != first || l.Last() != last {
		t.Errorf("the log has records %d to %d, want %d to %d", l.First(), l.Last(), first, last)
	}
	r := l.Read(first)
	defer r.Close()
	for next := first; next <= last; {
		rec, err := r.Next(t.Context())
		if gap := new(queue.DamageError); errors.As(err, &gap) {
			if len(lost) < 2 || gap.From != lost[0] || gap.To != lost[1] {
				t.Fatalf("%v, want %v", gap, lost)
			}
			next, lost = gap.To+1, lost[2:]
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Number != next || !bytes.Equal(rec.Payload, payload(next)) || rec.Totals[0] != rec.Before[0]+next {
			t.Fatalf("record %d is %.40q, want number %d", rec.Number, rec.Payload, next)
		}
		next++
	}
	if len(lost) > 0 {
		t.Errorf("records %v are there", lost)
	}
}

// meanwhile calls do before the first write.
type meanwhile struct {
	io.Writer
	do func()
}

func (m *meanwhile) Write(p []byte) (int, error) {
	if m.do != nil {
		m.do()
		m.do = nil
	}
	return m.Writer.Write(p)
}

// What the cursors of a moment need is in the backup, even if they move on and the log is
// trimmed meanwhile; so are later records, and the files.
func TestBackupOfALogInUse(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"filter/0001.checkpoint": "state", "deadletter/a/1.ndjson": "letter\n", "empty": ""}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "filter", "half.tmp"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	add(t, l, 300)
	at := map[string]queue.Cursor{"slow": cursorAt(100, 7), "fast": cursorAt(280, 0)}
	l.Change(queue.Change{Set: at, Notes: map[string]string{"layout": "1 shards a"}})
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := &meanwhile{&b, func() {
		add(t, l, 50)
		l.Change(queue.Change{Set: map[string]queue.Cursor{"slow": cursorAt(340, 8), "fast": cursorAt(340, 0)}})
		if err := l.KeepCursors(); err != nil {
			t.Fatal(err)
		}
		if first, err := l.Drop(); err != nil || first != 100 {
			t.Fatalf("the log was trimmed to %d under the backup: %v", first, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "removals"), []byte("late"), 0o600); err != nil {
			t.Fatal(err)
		}
	}}
	files["removals"] = "late"
	sum, err := Write(t.Context(), w, Original{Log: l, Dir: dir, Node: "n", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if sum.First != 100 || sum.Last != 350 || sum.Records != 251 || sum.Lost != 0 || sum.Files != len(files) || sum.Node != "n" {
		t.Errorf("the backup is %+v", sum)
	}
	if first, err := l.Drop(); err != nil || first != 340 {
		t.Errorf("behind the backup the log begins at %d: %v", first, err)
	}
	if read, err := Verify(bytes.NewReader(b.Bytes())); err != nil || read != sum {
		t.Errorf("read back: %+v, %v, want %+v", read, err, sum)
	}

	to := filepath.Join(t.TempDir(), "new", "data")
	if read, err := Restore(t.Context(), bytes.NewReader(b.Bytes()), to); err != nil || read != sum {
		t.Fatalf("restored: %+v, %v", read, err)
	}
	for name, text := range files {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != text {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	list, err := os.ReadDir(to)
	if err != nil || len(list) != 5 {
		t.Errorf("the directory has %v, %v", list, err)
	}
	restored := open(t, to)
	if got := restored.Cursors(); len(got) != 2 || got["slow"] != at["slow"] || got["fast"] != at["fast"] || restored.Note("layout") != "1 shards a" {
		t.Errorf("cursors are %v, want %v", got, at)
	}
	if d := restored.Damage(); len(d) > 0 || restored.LastTotals() != cursorAt(351, 0).Totals {
		t.Errorf("damage %v, totals %v", d, restored.LastTotals())
	}
	whole(t, restored, 100, 350)
	add(t, restored, 3)
	whole(t, restored, 100, 353)
}

// Records that the log had lost are lost in the restored log, with the same totals, wherever
// they were.
func TestBackupOfADamagedLog(t *testing.T) {
	dir := t.TempDir()
	gap := func(next uint64) {
		if err := queue.Begin(filepath.Join(dir, LogDir), cursorAt(next, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []struct {
		next uint64
		n    int
	}{{1, 0}, {5, 10}, {21, 4}, {26, 1}, {40, 0}} {
		gap(part.next)
		l := open(t, dir)
		add(t, l, part.n)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, dir)
	l.SetCursor("a", cursorAt(1, 0))
	lost := []uint64{1, 4, 15, 20, 25, 25, 27, 39}
	was := l.Damage()
	var b bytes.Buffer
	sum, err := Write(t.Context(), &b, Original{Log: l, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	read, err := Restore(t.Context(), &b, to)
	if err != nil || read != sum || sum.Lost != 24 || sum.Records != 15 {
		t.Fatalf("restored %+v, backup %+v, %v", read, sum, err)
	}
	restored := open(t, to)
	if fmt.Sprint(restored.Damage()) != fmt.Sprint(was) || len(was) != 4 || restored.Last() != 39 {
		t.Errorf("damage is %v, last %d, want %v", restored.Damage(), restored.Last(), was)
	}
	restored.SetCursor("a", cursorAt(1, 0))
	r := restored.Read(1)
	defer r.Close()
	for next := uint64(1); next <= 39; {
		rec, err := r.Next(t.Context())
		if gap := new(queue.DamageError); errors.As(err, &gap) {
			if gap.From != lost[0] || gap.To != lost[1] {
				t.Fatalf("%v, want %v", gap, lost)
			}
			next, lost = gap.To+1, lost[2:]
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Number != next || !bytes.Equal(rec.Payload, payload(next)) || rec.Before != cursorAt(next, 0).Totals {
			t.Fatalf("record %d is %.40q behind %v, want number %d", rec.Number, rec.Payload, rec.Before, next)
		}
		next++
	}
}

// A stream that was cut off, changed, or is of a later form is refused, and leaves the
// directory empty.
func TestBackupsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letters"), []byte(strings.Repeat("a letter\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	add(t, l, 50)
	l.Change(queue.Change{Set: map[string]queue.Cursor{"a": cursorAt(1, 0), "b": cursorAt(7, 4711)}})
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, Original{Log: l, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	changed := func(old, by string) []byte {
		i := bytes.Index(good, []byte(old))
		if i < 0 {
			t.Fatalf("no %q in the backup", old)
		}
		c := bytes.Clone(good)
		copy(c[i:], by)
		return c
	}
	for name, tt := range map[string]struct {
		text []byte
		want error
	}{
		"nothing":              {nil, ErrIncomplete},
		"no archive":           {bytes.Repeat([]byte("x"), 5000), ErrDamaged},
		"a record was changed": {changed("record 17", "record 71"), ErrDamaged},
		"a file was changed":   {changed("a letter", "a lettre"), ErrDamaged},
		"a cursor was changed": {changed(`"passed": 4711`, `"passed": 4171`), ErrDamaged},
		"another name":         {changed("data/letters", "data/../tter"), nil},
		"half":                 {good[:len(good)/2], ErrIncomplete},
		"without its end":      {good[:bytes.LastIndex(good, []byte("end.json"))], ErrIncomplete},
		"a later form":         {changed(`"form": 1`, `"form": 9`), nil},
	} {
		to := t.TempDir()
		_, err := Restore(t.Context(), bytes.NewReader(tt.text), to)
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if list, err := os.ReadDir(to); err != nil || len(list) > 0 {
			t.Errorf("%s: it leaves %v, %v", name, list, err)
		}
	}
	to := t.TempDir()
	if err := os.WriteFile(filepath.Join(to, "something"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), bytes.NewReader(good), to); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a directory with a file: %v", err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := Write(ctx, io.Discard, Original{Log: l, Dir: dir}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a backup that is told to stop: %v", err)
	}
}

// A restoration that was broken off by a crash is made anew; in a directory with other files
// nothing is removed.
func TestRestoreAfterACrash(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	add(t, l, 5)
	var b bytes.Buffer
	if _, err := Write(t.Context(), &b, Original{Log: l, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(to, aside, LogDir), 0o700), os.Mkdir(filepath.Join(to, "filter"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), &b, to); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "was broken off") {
		t.Errorf("over other files: %v", err)
	}
	if _, err := os.Stat(filepath.Join(to, aside, LogDir)); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(to, "filter")); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), &b, to); err != nil {
		t.Fatal(err)
	}
	whole(t, open(t, to), 1, 5)
}

func FuzzVerify(f *testing.F) {
	var b bytes.Buffer
	a := &archive{tar: tar.NewWriter(&b), end: closing{Records: 1, Lost: 2, Sums: map[string]string{}}}
	rec := record.Encode(&record.Record{Number: 1, Payload: []byte("a commit")})
	for _, err := range []error{
		a.json(headName, Origin{Form: Form}),
		a.json(logName, contents{First: 1, Last: 3}),
		a.entry("log/1.records", append(binary.LittleEndian.AppendUint32(nil, uint32(len(rec))), rec...)),
		a.json("log/2.lost", lostRun{From: 2, To: 3}),
		a.json(endName, a.end),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	if _, err := Verify(bytes.NewReader(b.Bytes())); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		sum, err := Verify(bytes.NewReader(b))
		if err == nil && sum.Records+sum.Lost != sum.Last+1-sum.First {
			t.Errorf("a backup of %+v is taken for whole", sum)
		}
	})
}
