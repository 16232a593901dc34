package queue

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// After an append of unknown fate, whether it landed or not, the readers see
// one history, each record once, and no number twice.
func TestUnclear(t *testing.T) {
	t.Parallel()
	const before = 5
	for _, tt := range []struct {
		name    string
		lose    func(p *proxy) // once the append is on its way
		restore func(p *proxy) // before Settle
		late    func(p *proxy) // after Settle
		hold    [2]bool        // while the append is on its way
		landed  bool
	}{
		{
			name:    "it landed, its answer comes late",
			hold:    [2]bool{false, true},
			restore: func(p *proxy) { p.hold(false, false) },
			landed:  true,
		},
		{
			name:    "it landed, its answer is lost",
			hold:    [2]bool{false, true},
			restore: func(p *proxy) { p.cut(); p.hold(false, false) },
			landed:  true,
		},
		{
			name:    "it is lost",
			hold:    [2]bool{true, false},
			restore: func(p *proxy) { p.cut(); p.hold(false, false) },
		},
		{
			name:    "it lands after all, before Settle",
			hold:    [2]bool{true, false},
			restore: func(p *proxy) { p.hold(false, false) },
			landed:  true,
		},
		{
			name:    "it gets there after Settle",
			hold:    [2]bool{true, false},
			restore: func(p *proxy) { p.strand(); p.hold(false, false) },
			late:    func(p *proxy) { p.deliver() },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := startNATS(t, t.TempDir())
			p := startProxy(t, srv)
			l := open(t, Config{URL: p.url()})
			fill(t, l, before, 100)
			seen := follow(t, l)

			p.hold(tt.hold[0], tt.hold[1])
			lose(t, l, func() bool {
				requests, answers := p.holds()
				return requests > 1000 || answers > 0
			})
			if l.Last() != before || l.LastTotals() != totals(before) {
				t.Fatalf("Last = %d, %v before Settle, want %d", l.Last(), l.LastTotals(), before)
			}
			tt.restore(p)
			last, to, err := l.Settle(testContext(t), []byte("settled"))
			want := uint64(before + 1)
			if tt.landed {
				want++
			}
			if err != nil || last != want || to != totals(want-1) || l.LastTotals() != to {
				t.Fatalf("Settle = %d, %v, %v, want %d", last, to, err, want)
			}
			if tt.late != nil {
				tt.late(p)
			}
			for range 3 {
				n, err := l.Append(testContext(t), []byte("after"), to, false)
				if want++; err != nil || n != want {
					t.Fatalf("Append = %d, %v, want %d", n, err, want)
				}
			}
			accounted(t, l)

			var texts []string
			list := history(t, l)
			for _, rec := range list[before:] {
				texts = append(texts, string(rec.Payload[:5]))
			}
			told := "[settl after after after]"
			if tt.landed {
				told = "[uncle settl after after after]"
			}
			if fmt.Sprint(texts) != told {
				t.Errorf("the log says %v, want %v", texts, told)
			}
			for n := range want {
				if got := <-seen; got.Number != n+1 || string(got.Payload) != string(list[n].Payload) {
					t.Errorf("a reader saw record %d, want %d, or not what is there", got.Number, n+1)
				}
			}
			shut(t, l)
			if rec, more := <-seen; more {
				t.Errorf("a reader saw record %d, want %d of them", rec.Number, want)
			}
		})
	}
}

// lose appends a record that says "unclear" and gives up when it is lost, which
// must make its fate unclear.
func lose(t *testing.T, l *Log, lost func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	failed := make(chan error, 1)
	next := l.Last() + 1
	go func() {
		_, err := l.Append(ctx, append([]byte("unclear"), make([]byte, 2000)...), totals(next), false)
		failed <- err
	}()
	eventually(t, "the append is held", lost)
	cancel()
	if err := <-failed; !errors.Is(err, ErrUnclear) {
		t.Fatalf("Append: %v, want ErrUnclear", err)
	}
}

// follow returns what a reader from the start of l sees, until l is closed.
func follow(t *testing.T, l *Log) <-chan Record {
	seen := make(chan Record, 1000)
	ctx := testContext(t)
	r := l.Read(1)
	go func() {
		defer close(seen)
		for {
			rec, err := r.Next(ctx)
			if err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Errorf("Next: %v", err)
				}
				return
			}
			seen <- rec
		}
	}()
	return seen
}

// An append that has no answer for longer than the limit is given up by itself.
func TestAppendTimeout(t *testing.T) {
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url()})
	fill(t, l, 1, 100)
	limit := l.cfg.AppendTimeout
	l.cfg.AppendTimeout = 50 * time.Millisecond
	p.hold(false, true)
	if _, err := l.Append(testContext(t), payload(2, 100), totals(2), false); !errors.Is(err, ErrUnclear) {
		t.Fatalf("Append: %v, want ErrUnclear", err)
	}
	l.cfg.AppendTimeout = limit

	// As long as nothing answers, neither does Settle.
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, _, err := l.Settle(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Settle: %v, want DeadlineExceeded", err)
	}
	if _, err := l.Append(testContext(t), nil, totals(2), false); !errors.Is(err, ErrUnclear) {
		t.Fatalf("Append: %v, want ErrUnclear until Settle returns nil", err)
	}
	p.hold(false, false)
	if _, _, err := l.Settle(testContext(t), payload(3, 8)); err != nil {
		t.Fatal(err)
	}
	for _, rec := range history(t, l) {
		checkPayload(t, rec)
	}
}

// The connections break and come back: an append that fails is settled, a reader
// goes on where it was.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url(), CacheBytes: 1})
	seen := follow(t, l)
	for n := uint64(1); n <= 40; n++ {
		if n%10 == 5 {
			p.cut()
		}
		next := l.Last() + 1
		_, err := l.Append(testContext(t), payload(next, 1000), totals(next), false)
		if err != nil {
			if _, _, err := l.Settle(testContext(t), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	list := history(t, l)
	for _, want := range list {
		if got := <-seen; got.Number != want.Number || string(got.Payload) != string(want.Payload) {
			t.Fatalf("a reader saw record %d, want %d, or not what is there", got.Number, want.Number)
		}
	}
	shut(t, l)
}
