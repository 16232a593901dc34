package queuetest

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"pingline/queue"
)

// childEnv makes a test binary an owner of a log that is to be killed.
const childEnv = "PINGLINE_QUEUETEST_CHILD"

var kills = flag.Int("kills", 5, "how many owners of a log are killed at random")

// IsChild reports whether this process is to be killed: then its main calls RunChild.
func IsChild() bool { return os.Getenv(childEnv) != "" }

// RunChild appends to the log of its arguments, a directory, a URL and a stream, and says on a
// line each what is acknowledged, until it is killed.
func RunChild() int {
	cfg := queue.Config{Dir: os.Args[1], URL: os.Args[2], Stream: os.Args[3], MaxBytes: 64 << 20, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	ctx := context.Background()
	l, err := queue.Open(ctx, cfg)
	if err == nil {
		err = l.Claim(ctx, payload(l.Last()+1, 8))
	}
	for err == nil {
		next := l.Last() + 1
		if l.Room() < 4<<20 {
			l.SetCursor("reader", queue.Cursor{Next: next - 10, Totals: totals(next - 11)})
			if err = l.KeepCursors(); err == nil { // else an owner that lives for less than a second trims nothing
				err = l.TrimKept()
			}
		}
		if err == nil {
			_, err = l.Append(ctx, payload(next, 8+rand.IntN(20_000)), totals(next), false)
		}
		if err == nil {
			_, err = fmt.Println(next)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// Kill has owners of a log killed at random moments, each of which appends as fast as it can. The
// test binary must call RunChild. In the end the log has all that was acknowledged.
func Kill(t *testing.T, cfg queue.Config) {
	t.Run("kill", func(t *testing.T) {
		if testing.Short() {
			t.Skip("kills processes")
		}
		cfg.Dir, cfg.Stream = t.TempDir(), "KILLED"
		last, began := uint64(0), time.Now()
		for i := range *kills {
			n := killOne(t, &cfg)
			if n < last {
				t.Fatalf("owner %d ended at record %d, behind %d", i, n, last)
			}
			if last = n; i%100 == 99 {
				t.Logf("%d owners were killed in %v, the log reaches to %d", i+1, time.Since(began).Round(time.Second), last)
			}
		}
		l := open(t, cfg)
		if l.Last() < last || len(l.Damage()) > 0 {
			t.Fatalf("the log ends at %d, acknowledged was %d; damage %v", l.Last(), last, l.Damage())
		}
		all := whole(t, l)
		for n := l.First(); n <= last; n++ {
			if want := string(payload(n, len(all[n]))); all[n] != want || len(want) == 0 {
				t.Fatalf("record %d is not as it was appended", n)
			}
		}
		t.Logf("%d owners were killed, %d records were acknowledged, none is lost", *kills, last)
	})
}

// killOne runs an owner for a while, and returns the last record that was acknowledged to it.
func killOne(t *testing.T, cfg *queue.Config) (last uint64) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0], cfg.Dir, cfg.URL, cfg.Stream) // #nosec G204 G702: this binary
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	many := rand.IntN(60)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil || n <= last {
			t.Fatalf("the owner says %q after %d", lines.Text(), last)
		}
		if last = n; many == 0 {
			time.AfterFunc(rand.N(5*time.Millisecond), func() { _ = cmd.Process.Kill() }) // in the middle of an append
		}
		many--
	}
	_ = cmd.Wait() // it was killed
	if many >= 0 {
		t.Fatalf("the owner ended by itself, at record %d", last)
	}
	return last
}
