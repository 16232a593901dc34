package queue

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestAppend(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir = t.TempDir()
		l := open(t, cfg)
		if l.First() != 1 || l.Last() != 0 || l.LastTotals() != (Totals{}) || l.Bytes() != 0 {
			t.Fatalf("a new log has records %d to %d, totals %v, %d bytes", l.First(), l.Last(), l.LastTotals(), l.Bytes())
		}
		last := uint64(0)
		for _, size := range []int{8, 100, 64 << 10, 1000} {
			fill(t, l, 30, size)
			last += 30
			check := func() {
				t.Helper()
				if l.First() != 1 || l.Last() != last || l.LastTotals() != totals(last) {
					t.Fatalf("records %d to %d, totals %v, want 1 to %d", l.First(), l.Last(), l.LastTotals(), last)
				}
				accounted(t, l)
				checkTold(t, "a reader was told", readTo(t, l, 1, last), nil)
			}
			check()
			shut(t, l)
			l = open(t, cfg)
			check()
		}
	})
}

// The memory of a payload is the caller's again when Append returns; and a
// record may be empty.
func TestAppendCopies(t *testing.T) {
	l := open(t, Config{})
	b := payload(1, 1000)
	if _, err := l.Append(testContext(t), b, totals(1), false); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if _, err := l.Append(testContext(t), nil, totals(2), false); err != nil {
		t.Fatal(err)
	}
	list := history(t, l)
	checkRecord(t, list[0], 1)
	if len(list) != 2 || len(list[1].Payload) != 0 {
		t.Errorf("read %d records, the last of %d bytes, want 2 and none", len(list), len(list[1].Payload))
	}
}

// Of two logs on one stream only the one that knows its end can append, and the
// other knows it again when it has settled.
func TestNothingOvertakes(t *testing.T) {
	url := startNATS(t, t.TempDir()).ClientURL()
	a, b := open(t, Config{URL: url, unowned: true}), open(t, Config{URL: url, unowned: true})
	fill(t, a, 1, 100) // b knows the stream as empty
	for range 3 {
		for range 2 {
			if n, err := b.Append(testContext(t), []byte("overtaking"), Totals{}, true); !errors.Is(err, ErrUnclear) {
				t.Fatalf("Append behind a log's back = %d, %v, want ErrUnclear", n, err)
			}
		}
		last := a.Last()
		got, to, err := b.Settle(testContext(t), payload(last+1, 8))
		if err != nil || got != last+1 || to != totals(last) {
			t.Fatalf("Settle = %d, %v, %v, want %d", got, to, err, last+1)
		}
		n, err := b.Append(testContext(t), payload(last+2, 8), totals(last+2), false)
		if err != nil || n != last+2 {
			t.Fatalf("Append = %d, %v, want %d", n, err, last+2)
		}
		a, b = b, a
	}
	var numbers []uint64
	for _, rec := range history(t, a) {
		checkPayload(t, rec)
		numbers = append(numbers, rec.Number)
	}
	if len(numbers) != 7 {
		t.Errorf("read records %v, want 1 to 7", numbers)
	}
}

// Two that append to one stream at once disturb each other, and yet every record
// that one of them was given a number for stands under that number.
func TestTwoWriters(t *testing.T) {
	url := startNATS(t, t.TempDir()).ClientURL()
	logs := [2]*Log{open(t, Config{URL: url, unowned: true}), open(t, Config{URL: url, unowned: true})}
	var acked [2]map[uint64]string
	var wg sync.WaitGroup
	for i, l := range logs {
		acked[i] = map[uint64]string{}
		wg.Go(func() {
			for n := byte(0); len(acked[i]) < 30; n++ {
				text := string([]byte{'a' + byte(i), n})
				number, err := l.Append(testContext(t), []byte(text), l.LastTotals(), false)
				if err == nil {
					acked[i][number] = text
					continue
				}
				if !errors.Is(err, ErrUnclear) {
					t.Errorf("Append: %v, want ErrUnclear", err)
					return
				}
				if _, _, err := l.Settle(testContext(t), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	// The log that settles last knows all records.
	if _, err := logs[0].Append(testContext(t), nil, Totals{}, false); err != nil {
		if _, _, err := logs[0].Settle(testContext(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	list := history(t, logs[0])
	for i := range acked {
		for number, text := range acked[i] {
			if got := string(list[number-1].Payload); got != text {
				t.Errorf("record %d is %q, appended was %q", number, got, text)
			}
		}
	}
}

// Whether or not an append that was given up had landed, Settle finds out.
func TestGivenUp(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		l := open(t, cfg)
		fill(t, l, 3, 100)
		landed := 0
		for round := range 8 {
			before, st := l.Last(), sessionOf(l)
			ctx, cancel := context.WithCancel(testContext(t))
			if round%2 == 0 {
				go cancel() // any time
			} else {
				cancel() // before it is sent
			}
			n, err := l.Append(ctx, []byte("given up"), totals(before+1), false)
			cancel()
			if err == nil && n == before+1 {
				landed++
				continue
			}
			if !errors.Is(err, ErrUnclear) {
				t.Fatalf("Append = %d, %v, want ErrUnclear", n, err)
			}
			if n, err := l.Append(testContext(t), []byte("next"), totals(before+1), true); !errors.Is(err, ErrUnclear) {
				t.Fatalf("Append before Settle = %d, %v, want ErrUnclear", n, err)
			}
			if l.Last() != before {
				t.Fatalf("Last = %d before Settle, want %d", l.Last(), before)
			}
			last, to, err := l.Settle(testContext(t), []byte("settled"))
			if err != nil || last != l.Last() || to != l.LastTotals() {
				t.Fatalf("Settle = %d, %v, %v, and the log says %d, %v", last, to, err, l.Last(), l.LastTotals())
			}
			if last == before+2 {
				landed++
			}
			if srv := st.Server(); srv != nil && (srv.NATS().Running() || l.session() == st) {
				t.Fatal("Settle left the server as it was")
			}
			accounted(t, l)
		}
		given := 0
		for _, rec := range history(t, l) {
			if string(rec.Payload) == "given up" {
				given++
			}
		}
		if given != landed {
			t.Errorf("%d that were given up are there, want %d", given, landed)
		}
	})
}

// Settle needs no append that failed before it.
func TestSettleAlone(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		l := open(t, cfg)
		if n, to, err := l.Settle(testContext(t), payload(1, 8)); n != 1 || to != (Totals{}) || err != nil {
			t.Fatalf("Settle of an empty log = %d, %v, %v, want 1", n, to, err)
		}
		if n, err := l.Append(testContext(t), payload(2, 8), totals(2), false); n != 2 || err != nil {
			t.Fatalf("Append = %d, %v, want 2", n, err)
		}
		if n := len(history(t, l)); n != 2 {
			t.Errorf("%d records, want 2", n)
		}
		accounted(t, l)
	})
}
