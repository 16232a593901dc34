package queue

import (
	"errors"
	"testing"
)

// A full log refuses and keeps nothing of what it refuses; what is trimmed makes
// room; only who says so may use the reserve.
func TestFull(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		const size = 10_000
		cfg.MaxBytes, cfg.Reserve = 1<<20, 200_000
		l := open(t, cfg)
		if l.Limit() != cfg.MaxBytes || l.Room() != cfg.MaxBytes-cfg.Reserve {
			t.Fatalf("Limit = %d, Room = %d, want %d and 200000 less", l.Limit(), l.Room(), cfg.MaxBytes)
		}
		// until appends records up to where they no longer fit.
		until := func(reserve bool) {
			t.Helper()
			for {
				next, room := l.Last()+1, l.Room()
				n, err := l.Append(testContext(t), payload(next, size), totals(next), reserve)
				if errors.Is(err, ErrFull) {
					if l.Last() != next-1 || l.LastTotals() != totals(next-1) || l.Room() != room {
						t.Fatalf("a refused append changed the log: Last = %d, want %d", l.Last(), next-1)
					}
					return
				}
				if err != nil || n != next {
					t.Fatalf("Append = %d, %v, want %d", n, err, next)
				}
			}
		}
		for range 3 {
			until(false)
			accounted(t, l)
			if room := l.Room(); room > size+200 || l.Bytes() > cfg.MaxBytes-cfg.Reserve {
				t.Errorf("refused at %d bytes with room for %d", l.Bytes(), room)
			}
			if room := int(l.Room()); room > 500 { // what is left takes a small one
				next := l.Last() + 1
				if _, err := l.Append(testContext(t), payload(next, room-300), totals(next), false); err != nil {
					t.Errorf("Append of %d bytes with room for %d: %v", room-300, room, err)
				}
			}
			without := l.Last()
			until(true)
			accounted(t, l)
			if used := l.Last() - without; used < 15 || l.Bytes() > cfg.MaxBytes || l.Room() != 0 {
				t.Errorf("the reserve took %d records, up to %d bytes of %d; Room = %d", used, l.Bytes(), cfg.MaxBytes, l.Room())
			}
			if err := l.Trim(l.Last() - 10); err != nil {
				t.Fatal(err)
			}
			if l.First() != l.Last()-10 {
				t.Errorf("First = %d after Trim(%d)", l.First(), l.Last()-10)
			}
			accounted(t, l)
		}
		checkTold(t, "a reader was told", readTo(t, l, l.First(), l.Last()), nil)
	})
}

func TestTooLarge(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		l := open(t, cfg)
		most := l.MaxPayload()
		if n, err := l.Append(testContext(t), make([]byte, most+1), totals(1), true); !errors.Is(err, ErrTooLarge) || l.Last() != 0 {
			t.Fatalf("Append of %d bytes = %d, %v, want ErrTooLarge", most+1, n, err)
		}
		fill(t, l, 3, most)
		fill(t, l, 1, 8)
		accounted(t, l)
		checkTold(t, "a reader was told", readTo(t, l, 1, 4), nil)
	})
}

// BytesSince tells how much of the log is left to read, on average records.
func TestBytesSince(t *testing.T) {
	l := open(t, Config{MaxBytes: 1 << 20})
	if got := l.BytesSince(1); got != 0 {
		t.Errorf("BytesSince(1) = %d of an empty log", got)
	}
	fill(t, l, 100, 5000)
	check := func() {
		t.Helper()
		each := l.Bytes() / int64(l.Last()+1-l.First())
		for n := uint64(0); n <= l.Last()+5; n++ {
			want := each * int64(l.Last()+1-min(max(n, l.First()), l.Last()+1))
			if got := l.BytesSince(n); got < want-each || got > want+each {
				t.Errorf("BytesSince(%d) = %d, want about %d", n, got, want)
			}
		}
	}
	check()
	if err := l.Trim(60); err != nil || l.First() != 60 {
		t.Fatalf("First = %d after Trim(60), %v", l.First(), err)
	}
	check()
}

// A log that was filled under a higher limit is full, and is emptied as any.
func TestLimitLowered(t *testing.T) {
	both(t, func(t *testing.T, cfg Config) {
		cfg.Dir, cfg.MaxBytes = t.TempDir(), 2<<20
		l := open(t, cfg)
		fill(t, l, 180, 10_000)
		shut(t, l)
		cfg.MaxBytes = 1 << 20
		l = open(t, cfg)
		if l.Room() != 0 || l.Last() != 180 || l.First() != 1 {
			t.Fatalf("records %d to %d with room for %d, want 1 to 180 and no room", l.First(), l.Last(), l.Room())
		}
		if _, err := l.Append(testContext(t), payload(181, 10), totals(181), true); !errors.Is(err, ErrFull) {
			t.Fatalf("Append: %v, want ErrFull", err)
		}
		if err := l.Trim(150); err != nil {
			t.Fatal(err)
		}
		fill(t, l, 20, 10_000)
		checkTold(t, "a reader was told", readTo(t, l, 150, 200), nil)
	})
}

// Whichever of an append and a trim learns first what the other did, each record
// is counted once.
func TestBytesOfAppendAndTrim(t *testing.T) {
	p := startProxy(t, startNATS(t, t.TempDir()))
	l := open(t, Config{URL: p.url(), MaxBytes: 1 << 20})
	fill(t, l, 60, 10_000)

	// The trim's answer tells of an append that has no answer yet.
	p.holdAppends(false, true)
	appended := make(chan struct{})
	go func() {
		defer close(appended)
		fill(t, l, 1, 10_000)
	}()
	eventually(t, "the append's answer is held", func() bool { _, n := p.holds(); return n > 0 })
	if err := l.Trim(30); err != nil || l.First() != 30 {
		t.Fatalf("First = %d, %v, want 30", l.First(), err)
	}
	p.hold(false, false)
	<-appended
	accounted(t, l)

	// The trim's answer was given before an append that is known by now.
	st := l.session()
	state, err := st.Bounds(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 1, 10_000)
	if l.trimmed(st, 30, state.LastSeq, state.Bytes) {
		t.Error("the state before an append counts as the one after it")
	}
	accounted(t, l)
}
