package queue

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Once the file of a record is filled and the record is dropped, no file has its bytes; what
// came behind it is there, and stays after a restart.
func TestDroppedBytesAreGone(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, MaxBytes: 64 << 20})
	put := func(text string) uint64 {
		t.Helper()
		n, err := l.Append(testContext(t), []byte(text), l.LastTotals(), false)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put("a secret")
	l.SetCursor("reader", l.Head())
	put("behind it")
	found := func(text string) (n int) {
		t.Helper()
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(text)) {
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := l.Drop(); err != nil || found("a secret") == 0 {
		t.Fatalf("dropped from a file that goes on, the bytes are in %d files: %v", found("a secret"), err)
	}
	before := l.Bytes()
	if !l.Fill() {
		t.Fatal("there is no room to fill the file")
	}
	for l.Filling() > 0 {
		put("filling")
	}
	if grown := l.Bytes() - before; grown < blockBytes {
		t.Errorf("the log has grown by %d bytes", grown)
	}
	at := l.Head()
	last := put("the last")
	l.SetCursor("reader", at)
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	if first, err := l.Drop(); err != nil || first != last {
		t.Errorf("the log begins at %d, want %d: %v", first, last, err)
	}
	if found("a secret") != 0 || found("the last") == 0 {
		t.Errorf("the secret is in %d files, the last record in %d", found("a secret"), found("the last"))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, Config{Dir: dir, MaxBytes: 64 << 20})
	if l.First() != last || l.Last() != last || len(l.Damage()) != 0 {
		t.Errorf("after a restart %d to %d, damage %v", l.First(), l.Last(), l.Damage())
	}
	if small := open(t, Config{Dir: t.TempDir(), MaxBytes: 8 << 20}); small.Fill() {
		t.Error("a small log is filled")
	}
}

// A record of any size that the log takes is taken while its file is filled, too.
func TestLargeRecordsWhileFilling(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir(), MaxBytes: 256 << 20})
	if !l.Fill() {
		t.Fatal("there is no room to fill the file")
	}
	for _, less := range []int{0, 1, 50, 100, 1000, 30_000, 59_000, 61_000} {
		if _, err := l.Append(testContext(t), make([]byte, l.MaxPayload()-less), l.LastTotals(), false); err != nil {
			t.Errorf("%d bytes less than the most: %v", less, err)
		}
	}
	left := l.Filling()
	if l.Fill(); left > 0 && l.Filling() != left {
		t.Errorf("asked once more, %d bytes are to be filled, and %d were", l.Filling(), left)
	}
}
