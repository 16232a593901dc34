//go:build linux

package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// kill runs a child that appends records of size bytes to the log in dir, and
// kills it once it has acknowledged so many. It returns the last that it
// acknowledged.
func kill(t *testing.T, role, dir string, size, acks int) (last uint64) {
	t.Helper()
	cmd := child(t, role, dir, "", strconv.Itoa(size))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for ; lines.Scan(); acks-- {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil || last > 0 && n != last+1 {
			t.Fatalf("acknowledged was %q behind %d", lines.Text(), last)
		}
		if last = n; acks == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return last
}

// Killed while it appends, and trims, a log has all that was acknowledged, and at
// most one record more.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"append", "churn"} {
		t.Run(role, func(t *testing.T) {
			dir := t.TempDir()
			for range 5 {
				last := kill(t, role, dir, 20_000, rand.IntN(400))
				l := open(t, Config{Dir: dir, CacheBytes: 1})
				if l.Last() < last || l.Last() > last+1 {
					t.Fatalf("Last = %d, acknowledged were %d", l.Last(), last)
				}
				if trimmed := l.First() > 1; trimmed && role == "append" || l.First() > max(last, 21)-20 {
					t.Fatalf("First = %d, acknowledged were %d", l.First(), last)
				}
				checkTold(t, "a reader was told", readTo(t, l, l.First(), l.Last()), nil)
				checkTold(t, "Damage", l.Damage(), nil)
				accounted(t, l)
				shut(t, l)
			}
		})
	}
}

// A backlog is not read into memory: neither by a start after a crash nor by a
// reader of all of it.
func TestBacklogStaysOnDisk(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("writes 320 MiB and measures memory")
	}
	const size, records, most = 1 << 20, 320, 150 << 20
	dir := t.TempDir()
	kill(t, "append", dir, size, records)
	for _, after := range []string{"a crash", "a close in order"} {
		cmd := child(t, "measure", dir, "")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var opened, read, bytes int64
		if _, err := fmt.Sscan(string(out), &opened, &read, &bytes); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		t.Logf("after %s: %d MiB to open, %d MiB to read %d MiB", after, opened>>20, read>>20, bytes>>20)
		if opened > most || read > most {
			t.Errorf("after %s a log of %d bytes took %d to open and %d to read, want at most %d", after, bytes, opened, read, most)
		}
		if bytes < records*size {
			t.Errorf("only %d bytes were read", bytes)
		}
	}
}

// measure says the most memory that was in use when l was open, and when all of
// it was read, and how much that was.
func measure(l *Log) error {
	opened, err := peakMemory()
	if err != nil {
		return err
	}
	r, sum := l.Read(l.First()), 0
	defer r.Close()
	for last := l.Last(); ; {
		rec, err := r.Next(context.Background())
		if err != nil {
			return err
		}
		if !bytes.Equal(rec.Payload, payload(rec.Number, len(rec.Payload))) {
			return fmt.Errorf("record %d is not what was appended", rec.Number)
		}
		if sum += len(rec.Payload); rec.Number == last {
			break
		}
	}
	read, err := peakMemory()
	if err == nil {
		_, err = fmt.Println(opened, read, sum)
	}
	return err
}

// peakMemory is the most memory that this process had in use so far.
func peakMemory() (int64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, ok := strings.Cut(string(b), "VmHWM:")
	if !ok {
		return 0, errors.New("no VmHWM in /proc/self/status")
	}
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kib << 10, err
}
