package rollup

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"pingline"
	"pingline/queue"
)

// heap is how many bytes live.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// strewn returns the records of pings of riders at random places of the globe, all
// within 20 s from a second on.
func strewn(riders, second int, speed bool) (list []queue.Record) {
	rng := rand.New(rand.NewPCG(uint64(second), 1))
	var buf []byte
	const each = 5000
	for n := 0; n < riders; n += each {
		at := start + int64(second)*1000 + int64(n)*20_000/int64(riders)
		buf = pingline.AppendCommitHeader(buf[:0], &pingline.CommitHeader{Node: "n", At: at, Entries: each})
		for i := range each {
			e := pingline.Entry{Ping: pingline.Ping{Rider: fmt.Sprint("r-", n+i)}, Verdict: pingline.Accepted, Cell: 0x8539220ffffffff}
			e.At, e.LatE7, e.LonE7 = at, rng.Int32N(1_600_000_000)-800_000_000, int32(rng.Int64N(3_600_000_000)-1_800_000_000)
			if speed {
				e.SetOptional(pingline.HasSpeed, 3)
			}
			buf = pingline.AppendEntry(buf, &e, at)
		}
		list = append(list, queue.Record{Number: uint64(second)*1_000_000 + uint64(n/each) + 1, Payload: append([]byte(nil), buf...)})
	}
	return list
}

// alone runs a test in a process in which no other has run, and reports whether this
// one is that. A NATS server that was stopped keeps about a mebibyte until the last of
// its timers has fired: the servers of all tests before would leave the heap while
// it is measured.
func alone(t *testing.T) bool {
	const isAlone = "PINGLINE_TEST_ROLLUP_ALONE"
	if os.Getenv(isAlone) != "" {
		return true
	}
	cmd := exec.CommandContext(testContext(t), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), isAlone+"=1")
	said, err := cmd.CombinedOutput()
	if t.Logf("%s", said); err != nil || !bytes.Contains(said, []byte("--- PASS: "+t.Name()+" ")) {
		t.Errorf("%s alone: %v", t.Name(), err)
	}
	return false
}

// The roll-up's own count of its bytes is the heap's, its limit holds for any
// pings, and all memory is given back when the flood is over.
func TestAccountEqualsHeap(t *testing.T) {
	if !alone(t) {
		return
	}
	for _, speed := range []bool{true, false} {
		for _, limit := range []int64{8 << 20, 128 << 20} {
			t.Run(fmt.Sprint(limit>>20, " MiB, speed ", speed), func(t *testing.T) {
				log := openLog(t, queue.Config{})
				records := strewn(100_000, 0, speed)
				later := strewn(5000, 600, speed)
				latest := strewn(5000, 1200, speed)
				before := heap()
				r, err := New(Config{Log: log, Logger: quiet(), MaxBytes: limit, Emit: func(context.Context, []pingline.Entry) error { return nil }})
				if err != nil {
					t.Fatal(err)
				}
				r.now = func() int64 { return r.clock }
				var says, is int64
				for i := range records {
					if err := r.take(context.Background(), &records[i]); err != nil {
						t.Fatal(err)
					}
					if i%5 == 4 {
						says, is = r.Stats().Bytes, heap()-before
						check(t, fmt.Sprint("commit ", i), says, is, limit)
					}
				}
				if says < 4<<20 {
					t.Fatalf("%d bytes are no flood", says)
				}
				most := says
				for _, list := range [...][]queue.Record{later, latest} {
					for i := range list {
						if err := r.take(context.Background(), &list[i]); err != nil {
							t.Fatal(err)
						}
					}
					r.turn(context.Background(), r.clock+2000)
				}
				says, is = r.Stats().Bytes, heap()-before
				check(t, "at rest", says, is, limit)
				if is > 6<<20+limit/32 {
					t.Errorf("%d bytes are still taken for %d cells", is, r.Stats().Open)
				}
				t.Logf("a flood takes %d bytes, %d remain in the heap for %d", most, is, says)
				runtime.KeepAlive(records)
				runtime.KeepAlive(r)
			})
		}
	}
}

// check compares what an account says with the heap. A map or list that grows is
// up to twice as large as what is in it, and the account knows the mean.
func check(t *testing.T, when string, says, is, limit int64) {
	t.Helper()
	const fixed = 3 << 20 // cells that were seen lately, buffers
	if float64(is) > 1.3*float64(says)+fixed || float64(says) > 1.5*float64(is)+fixed {
		t.Errorf("%s: the account says %d bytes, the heap %d", when, says, is)
	}
	if says > limit+estimatorBytes {
		t.Errorf("%s: the account says %d bytes, more than %d", when, says, limit)
	}
}
