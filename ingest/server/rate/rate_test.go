package rate

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

func TestBucketsRefill(t *testing.T) {
	type take struct {
		at   float64 // seconds
		n    int
		wait float64 // seconds; 0: it passes
	}
	for _, tt := range []struct {
		name        string
		rate, burst float64
		takes       []take
	}{
		{"at its rate", 10, 10, []take{{0, 10, 0}, {1, 10, 0}, {2, 10, 0}, {3, 10, 0}}},
		{"empty", 10, 10, []take{{0, 10, 0}, {0, 1, 0.1}, {0.05, 1, 0.05}, {0.11, 1, 0}}},
		{"a large request is one thing, and is paid for", 10, 10, []take{{0, 100, 0}, {1, 1, 8.1}, {9, 1, 0.1}, {9.1, 1, 0}}},
		{"no more than the burst is saved up", 10, 10, []take{{0, 1, 0}, {1000, 10, 0}, {1000, 1, 0.1}}},
		{"refused costs nothing", 10, 10, []take{{0, 10, 0}, {0, 1000, 0.1}, {0, 1000, 0.1}, {0.1, 1, 0}}},
		{"slower than one a second", 0.1, 1, []take{{0, 1, 0}, {1, 1, 9}, {10, 1, 0}}},
		{"asking for none", 10, 10, []take{{0, 0, 0}, {0, 10, 0}, {0, 0, 0.1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := New(tt.rate, tt.burst, 100)
			for i, k := range tt.takes {
				now := r.start.Add(time.Duration(k.at * 1e9))
				got := r.Take(7, k.n, now).Seconds()
				if d := got - k.wait; (got == 0) != (k.wait == 0) || d > 0.15 || d < -0.15 {
					t.Errorf("take %d, of %d at %v s: wait %v s, want %v", i, k.n, k.at, got, k.wait)
				}
				if wait := r.Take(8+uint64(i), 1, now); wait != 0 {
					t.Errorf("another name has to wait %v", wait)
				}
			}
		})
	}
	off := New(0, 1, 100)
	for range 100 {
		if wait := off.Take(off.Key("r"), 1000, time.Now()); wait != 0 {
			t.Fatalf("wait %v without a limit", wait)
		}
	}
}

func TestPaidBack(t *testing.T) {
	r := New(10, 100, 100)
	key := r.Key("r")
	for range 50 {
		if wait := r.Take(key, 100, r.start); wait != 0 {
			t.Fatalf("wait %v although all was paid back", wait)
		}
		r.Pay(key, -100)
	}
	r.Pay(key, 100)
	if r.Take(key, 1, r.start) == 0 {
		t.Error("what was paid later does not count")
	}
}

// A flood of names neither grows memory nor makes the filter forget who owes.
func TestFloodOfNames(t *testing.T) {
	r := New(10, 1000, 1<<12)
	debtor := r.Key("debtor")
	r.Take(debtor, 100_000, r.start)
	name := make([]byte, 0, 20)
	n := 0
	if allocs := testing.AllocsPerRun(1000, func() {
		for range 1000 {
			n++
			name = strconv.AppendInt(name[:0], int64(n), 10)
			r.Take(r.Key(string(name)), 1, r.start.Add(time.Duration(n)*time.Microsecond))
		}
	}); allocs > 1000 { // the strings
		t.Errorf("%v allocations for 1,000 names", allocs)
	}
	if n < 1_000_000 {
		t.Fatalf("only %d names", n)
	}
	if r.Take(debtor, 1, r.start.Add(time.Second)) == 0 {
		t.Errorf("the debtor was forgotten after %d other names", n)
	}
}

func BenchmarkRates(b *testing.B) {
	r := New(10, 10_000, 1<<18)
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf("rider-%07d", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for i := 0; pb.Next(); i++ {
			r.Take(r.Key(names[i%len(names)]), 1, now)
		}
	})
}

// Whatever rate and burst the flags may be given, be it a minute's worth of less than one
// a minute, the first passes, and a bucket that owes is not full for it.
func TestAnyRateLetsTheFirstPass(t *testing.T) {
	now := time.Now()
	for _, rate := range []float64{1e-300, 1e-12, 1e-9, 1e-6, 1e-3, 0.1, 10, 1e6} {
		for _, burst := range []float64{60 * rate, 1, 10_000, 1e9} {
			r := New(rate, burst, 16)
			key := r.Key("r")
			if wait := r.Take(key, 1, now); wait != 0 {
				t.Errorf("rate %v, burst %v: the first has to wait %v", rate, burst, wait)
			}
			if left := r.Left(key, now); float64(left) > max(burst, 1) {
				t.Errorf("rate %v, burst %v: %d are left", rate, burst, left)
			}
			for range 3 { // in requests as large as they may be
				r.Take(key, 1<<16, now)
			}
			if burst < 1<<16 && rate <= 10 { // else some may be left, or refilled by now
				if wait := r.Take(key, 1, now); wait <= 0 {
					t.Errorf("rate %v, burst %v: after three large requests another passes", rate, burst)
				}
			}
			r.Pay(key, -1<<16)
			if left := r.Left(key, now); left < 0 || float64(left) > max(burst, 1) {
				t.Errorf("rate %v, burst %v: %d are left", rate, burst, left)
			}
		}
	}
}
