//go:build linux

package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pingline/queue/disk"
)

// smallDisk mounts a disk of its own for the test, or skips it.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a small disk cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// hog fills the disk under dir but for about spare bytes.
func hog(t *testing.T, dir string, spare int64) (path string) {
	t.Helper()
	free, err := disk.Free(dir)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "hog")
	if err := os.WriteFile(path, make([]byte, free-spare), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// overflow appends records of size bytes until the disk is full and one fails:
// at once, not when the time for an answer is over.
func overflow(t *testing.T, l *Log, size int) {
	t.Helper()
	if l.cfg.AppendTimeout > patience {
		t.Fatal("a limit that cannot be told from the test's")
	}
	for {
		next := l.Last() + 1
		n, err := l.Append(testContext(t), payload(next, size), totals(next), false)
		if err == nil && n == next {
			continue
		}
		if !errors.Is(err, ErrUnclear) {
			t.Fatalf("Append = %d, %v, want ErrUnclear", n, err)
		}
		if errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no space left") {
			t.Fatalf("Append: %v, want that there is no space left", err)
		}
		if cause := l.Trouble(); cause == nil || cause.Error() != "no space left on "+l.cfg.Dir {
			t.Errorf("Trouble = %v", cause)
		}
		if free, err := disk.Free(l.cfg.Dir); err != nil || free < int64(size) {
			return
		}
		if _, _, err := l.Settle(testContext(t), payload(l.Last()+1, 8)); err != nil { // only slow
			t.Fatal(err)
		}
	}
}

// checkAll reads all of l and returns the last number; records that Settle
// appended say so.
func checkAll(t *testing.T, l *Log) (list []Record) {
	t.Helper()
	list = history(t, l)
	for _, rec := range list {
		if string(rec.Payload) != "settled" {
			checkPayload(t, rec)
		}
	}
	if lost := l.Damage(); len(lost) > 0 {
		t.Errorf("%v are lost", lost)
	}
	return list
}

// The disk fills up: an append fails, Settle waits for room, opens the server
// anew and goes on, in this process, with all that was acknowledged.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	dir := smallDisk(t, "size=48m")
	l := open(t, Config{Dir: filepath.Join(dir, "log"), CacheBytes: 1})
	fill(t, l, 20, size)
	for range 2 {
		hogged := hog(t, dir, 20*size)
		overflow(t, l, size)
		checkAll(t, l)
		acked := l.Last()

		ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
		if _, _, err := l.Settle(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Settle with a full disk: %v, want DeadlineExceeded", err)
		}
		cancel()
		if _, err := l.Append(testContext(t), nil, totals(acked), true); !errors.Is(err, ErrUnclear) {
			t.Fatalf("Append: %v, want ErrUnclear until Settle returns nil", err)
		}
		remove(t, hogged)
		last, to, err := l.Settle(testContext(t), []byte("settled"))
		if err != nil || last < acked+1 || last > acked+2 || to != totals(last-1) {
			t.Fatalf("Settle = %d, %v, %v, with %d acknowledged", last, to, err, acked)
		}
		accounted(t, l)
		eventually(t, "there is no trouble", func() bool { return l.Trouble() == nil })
		next := last + 1
		if n, err := l.Append(testContext(t), payload(next, size), totals(next), false); n != next || err != nil {
			t.Fatalf("Append = %d, %v, want %d", n, err, next)
		}
		checkAll(t, l)
	}
	last := l.Last()
	shut(t, l)
	l = open(t, Config{Dir: filepath.Join(dir, "log")})
	if n := len(checkAll(t, l)); n != int(last) {
		t.Errorf("%d records after the next start, want %d", n, last)
	}
}

// A disk that is nearly full is told before any append fails, and a disk with
// room again without any.
func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=48m")
	l := open(t, Config{Dir: filepath.Join(dir, "log")})
	fill(t, l, 20, 1000)
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	hogged := hog(t, dir, diskMargin-1<<20)
	if err := l.Check(); err == nil || err.Error() != "no space left on "+l.cfg.Dir {
		t.Errorf("Check = %v with less than %d bytes free", err, diskMargin)
	}
	<-l.Troubled()
	fill(t, l, 1, 1000) // the log itself goes on
	remove(t, hogged)
	eventually(t, "there is no trouble", func() bool { return l.Trouble() == nil })
	select {
	case <-l.Troubled():
		t.Error("told of trouble that is over")
	default:
	}
}

// A log that is opened on a full disk can be read, refuses, and takes appends
// again when there is room, without being opened anew.
func TestOpenOnFullDisk(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	dir := smallDisk(t, "size=48m")
	l := open(t, Config{Dir: filepath.Join(dir, "log")})
	fill(t, l, 20, size)
	shut(t, l)
	hogged := hog(t, dir, 0)
	l = open(t, Config{Dir: filepath.Join(dir, "log")})
	if n := len(checkAll(t, l)); n != 20 {
		t.Fatalf("%d records, want 20", n)
	}
	next := l.Last() + 1
	if _, err := l.Append(testContext(t), payload(next, size), totals(next), true); !errors.Is(err, ErrFull) {
		t.Fatalf("Append: %v, want ErrFull", err)
	}

	// Room within the log is room enough.
	l.SetCursor("reader", Cursor{Next: next, Totals: totals(next - 1)})
	if err := l.TrimKept(); err != nil || l.First() != 20 {
		t.Fatalf("First = %d after TrimKept, %v, want 20", l.First(), err)
	}
	fill(t, l, 3, size)

	limit := l.Limit()
	remove(t, hogged)
	eventually(t, "the limit rises", func() bool { return l.Limit() > 2*limit })
	fill(t, l, 20, size)
	if n := len(checkAll(t, l)); n != 24 {
		t.Errorf("%d records, want 24", n)
	}
}

// The log itself fills the disk, and its readers go on: then it makes room by
// dropping the records they have passed, with no help from outside.
func TestDiskFullOfTheLog(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	dir := smallDisk(t, "size=64m")
	l := open(t, Config{Dir: filepath.Join(dir, "log"), CacheBytes: 1})
	fill(t, l, 380, size)
	l.SetCursor("reader", Cursor{Next: 1})
	hog(t, dir, 3*size)
	overflow(t, l, size)
	acked := l.Last()

	settled := make(chan uint64, 1)
	go func() {
		last, _, err := l.Settle(testContext(t), []byte("settled"))
		if err != nil {
			t.Error(err)
		}
		settled <- last
	}()
	r := l.Read(1)
	defer r.Close()
	for n := uint64(1); n <= acked; n++ {
		rec, err := r.Next(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		checkRecord(t, rec, n)
		l.SetCursor("reader", Cursor{Next: n + 1, Totals: rec.Totals})
	}
	last := <-settled
	if last <= acked || l.First() == 1 {
		t.Fatalf("records %d to %d, with %d acknowledged", l.First(), last, acked)
	}
	next := last + 1
	if n, err := l.Append(testContext(t), payload(next, size), totals(next), false); n != next || err != nil {
		t.Fatalf("Append = %d, %v, want %d", n, err, next)
	}
	checkAll(t, l)
}
