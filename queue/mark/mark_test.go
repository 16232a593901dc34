package mark

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"pingline/queue/record"
)

func totals(n uint64) record.Totals { return record.Totals{n, 2 * n, 0, n << 40} }

// markOf writes the marks of records 1 to last, and returns the file.
func markOf(t *testing.T, last uint64) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "high-water")
	m, number, _, err := Open(path)
	if err != nil || number != 0 {
		t.Fatalf("a new mark says %d, %v", number, err)
	}
	for n := uint64(1); n <= last; n++ {
		to := totals(n)
		if err := m.Write(n, &to); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkMark opens a mark that holds b, which must say number, and then checks
// that it takes the next ones.
func checkMark(t *testing.T, b []byte, number uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "high-water")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		m, got, to, err := Open(path)
		if err != nil || got != number || to != totals(number) {
			t.Fatalf("the mark says %d, %v, %v, want %d", got, to, err, number)
		}
		number++
		to = totals(number)
		if err := m.Write(number, &to); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMark(t *testing.T) {
	for last := range uint64(5) {
		checkMark(t, markOf(t, last), last)
	}
}

// A write that was torn leaves the mark before it.
func TestMarkTorn(t *testing.T) {
	older, newer := markOf(t, 6), markOf(t, 7) // number 7 went into the first slot
	for n := 1; n < markSize+4; n++ {
		torn := bytes.Clone(older)
		copy(torn, newer[:n])
		want := uint64(6)
		if bytes.Equal(torn, newer) {
			want = 7
		}
		checkMark(t, torn, want)
	}
	for i := range markSize + 4 {
		b := bytes.Clone(newer)
		b[i] ^= 0x10
		checkMark(t, b, 6)
		b = bytes.Clone(newer)
		b[markSlot+i] ^= 0x10
		checkMark(t, b, 7)
		b[i] ^= 0x10
		checkMark(t, b, 0)
	}
}

func TestMarkCutShort(t *testing.T) {
	older, newer := markOf(t, 6), markOf(t, 7)
	for n := range 2 * markSlot {
		want := uint64(0)
		if n >= markSlot {
			want = 7
		}
		checkMark(t, newer[:n], want)
		if want > 0 {
			want = 5
		}
		checkMark(t, older[:n], want)
	}
	checkMark(t, bytes.Repeat([]byte("garbage "), 100), 0)
}
