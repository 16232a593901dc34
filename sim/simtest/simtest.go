// Package simtest has the tests that hold of every world of simulated phones: its bytes
// stay what they are, the filter keeps as much of it as of recorded tracks, and a ping
// of it costs little.
package simtest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/track"
)

// Monday is the start of the tests' tracks, ms since 1970.
const Monday = 1_767_600_000_000

// Traffic is the pings of a world, as sim.Phones.
type Traffic interface {
	Riders() int
	Name(i int) (rider, device string)
	Update(p *pingline.Ping, i int, since, at int64) bool
}

// Same checks that 40 phones send within two hours the bytes that a hash is of, and that
// an equal world says the same of each moment if several at once ask for the moments in
// any order.
func Same(t *testing.T, w, equal Traffic, hash string) {
	t.Helper()
	const phones, moments, step = 40, 1440, 5000
	line := func(w Traffic, n int) []byte {
		var p pingline.Ping
		i, at := n%phones, Monday+int64(n/phones)*step
		p.Rider, p.Device = w.Name(i)
		if !w.Update(&p, i, at-step, at) {
			return nil
		}
		return append(track.AppendPing(nil, &p), '\n')
	}
	first, sum := make([][]byte, phones*moments), sha256.New()
	for n := range first {
		first[n] = line(w, n)
		sum.Write(first[n])
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)[:8]); got != hash {
		t.Errorf("the bytes hash to %s, as ever it was %s", got, hash)
	}
	var all sync.WaitGroup
	for seed := range uint64(2) {
		all.Go(func() {
			for _, n := range rand.New(rand.NewPCG(1, seed)).Perm(len(first)) {
				if got := line(equal, n); !bytes.Equal(got, first[n]) {
					t.Errorf("%d: %q asked in any order, %q in order", n, got, first[n])
					return
				}
			}
		})
	}
	all.Wait()
}

// KeptShare runs the pings of the first n phones through the filter as serve does, each
// phone with a ping every interval, and returns the share of them that is stored.
func KeptShare(t *testing.T, w Traffic, n int, interval, length time.Duration) float64 {
	t.Helper()
	f, err := dedupe.New(dedupe.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	var b dedupe.Batch
	var sent, kept int
	settle := func() {
		for _, s := range b.Settled {
			if s.Stored {
				kept++
			}
		}
		b.Reset()
	}
	step := interval.Milliseconds()
	for s := int64(0); s < length.Milliseconds(); s += step {
		now := time.Duration(s) * time.Millisecond
		for i := range n {
			var e pingline.Entry
			e.Rider, e.Device = w.Name(i)
			if at := Monday + s + int64(i)%step; !w.Update(&e.Ping, i, at-step, at) {
				continue
			}
			sent++
			if v, _ := f.Judge(&b, &e, dedupe.Bound{MaxError: 10, AccuracyCap: 50}, 1, now); v == pingline.Accepted {
				kept++
			}
			settle()
		}
		for f.Idle(&b, now, 1000) {
		}
		settle()
	}
	for f.Flush(&b, 1000) {
	}
	settle()
	return float64(kept) / float64(sent)
}

// Benchmark asks each phone in turn for a ping every 5 s. Pings per second of this
// process's time on the processors do not suffer from other processes.
func Benchmark(b *testing.B, w Traffic) {
	b.Helper()
	pings, trips := make([]pingline.Ping, 1), make([]string, w.Riders())
	p, n, i, at := &pings[0], 0, 0, int64(Monday)
	began := processorTime()
	b.ReportAllocs()
	for b.Loop() {
		if i++; i == len(trips) {
			i, at = 0, at+5000
		}
		p.Trip = trips[i]
		if w.Update(p, i, at-5000, at) {
			trips[i] = p.Trip
			n++
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pings/s")
	b.ReportMetric(float64(n)/(processorTime()-began).Seconds(), "pings/cpu-s")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Heap returns the bytes that are in use.
func Heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
