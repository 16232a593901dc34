package costtest

import (
	"hash/fnv"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asked is the variable that has guards run, which else are skipped: they take seconds
// each, and say nothing beside other tests.
const asked = "PINGLINE_BENCH_GUARD"

// Turns of the stage and the loop, in rounds: the costs are looked at after the first
// rounds, and after each one from there on until they are within the limit.
const (
	turns       = 50
	firstRounds = 4
	mostRounds  = 500
)

// Guard fails t if stage, of so many pings, costs more than limit of the reference
// loop, a ping against a byte. It runs stage many times.
func Guard(t *testing.T, pings int, limit float64, prepare, stage func()) {
	t.Helper()
	if os.Getenv(asked) == "" {
		t.Skip("make bench-guard runs this")
	}
	var of measured
	for round := 1; ; round++ {
		of.round(prepare, stage)
		ratio := of.stage.Seconds() / float64(pings) / (of.loop.Seconds() / float64(len(text)))
		if round < firstRounds || ratio > limit && round < mostRounds {
			continue
		}
		t.Logf("%d ns a ping, %.1f bytes of the reference loop; the limit is %.1f; %d rounds", of.stage.Nanoseconds()/int64(pings), ratio, limit, round)
		if ratio > limit {
			t.Errorf("a ping costs as much as %.1f bytes of the reference loop, more than %.1f: it was cheaper", ratio, limit)
		}
		return
	}
}

// measured are the least times that the stage and the loop have taken.
type measured struct{ stage, loop time.Duration }

// round measures both in turns.
func (m *measured) round(prepare, stage func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection is no part of a turn
	for range turns {
		if prepare != nil {
			prepare()
		}
		least(&m.loop, reference)
		least(&m.stage, stage)
	}
}

// least runs f and keeps its time if it is less than before.
func least(to *time.Duration, f func()) {
	before := threadTime()
	f()
	if took := threadTime() - before; *to == 0 || took < *to {
		*to = took
	}
}

// threadTime is the CPU time that this thread has taken.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(ts.Nano())
}

var text = make([]byte, 64<<10)

// reference is the loop: FNV-1a of 64 KiB, a byte at a time. It waits for the
// multiplier of a core and for nothing else.
func reference() {
	h := fnv.New64a()
	_, _ = h.Write(text)
	runtime.KeepAlive(h.Sum64())
}
