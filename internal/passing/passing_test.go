package passing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/ingest"
	"pingline/ingest/phone"
	"pingline/sink/store"
)

// patience is how long a test waits for an event on a busy machine.
const patience = 2 * time.Minute

// scripted is a store that answers writes as a test says, and keeps the lines that it takes.
type scripted struct {
	answer func(ctx context.Context, lines []string) error

	mu     sync.Mutex
	writes int
	kept   map[string]bool
}

func (s *scripted) AppendRow(dst []byte, _ *pingline.Entry) []byte { return dst }

func (s *scripted) Close() error { return nil }

func (s *scripted) Write(ctx context.Context, rows store.Rows) error {
	lines := strings.SplitAfter(strings.TrimSuffix(string(rows.Bytes), "\n"), " 1\n")
	if len(lines) != rows.N {
		return fmt.Errorf("%d lines of %d", len(lines), rows.N)
	}
	err := s.answer(ctx, lines)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	for _, l := range lines {
		if err == nil {
			s.kept[l] = true
		}
	}
	return err
}

func newScripted(t *testing.T, cfg Config, answer func(ctx context.Context, lines []string) error) (*Passer, *scripted) {
	t.Helper()
	s := &scripted{answer: answer, kept: make(map[string]bool)}
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	cfg.Store, cfg.Name, cfg.Logger = s, "a", slog.New(slog.DiscardHandler)
	return New(cfg), s
}

// lines are n lines, each with a line break in its text, of which some are bad.
func lines(n int, bad func(i int) bool) *phone.Others {
	o := &phone.Others{}
	for i := range n {
		word := "good"
		if bad(i) {
			word = "bad"
		}
		o.Bytes = fmt.Appendf(o.Bytes, "%s,i=%d a=\"x\ny\" 1\n", word, i)
		o.Ends = append(o.Ends, len(o.Bytes))
	}
	return o
}

func none(int) bool { return false }

// refusesBad takes no write that has a bad line in it, as InfluxDB 2.x does.
func refusesBad(_ context.Context, lines []string) error {
	n := strings.Count(strings.Join(lines, ""), "bad,")
	if n == 0 {
		return nil
	}
	return &store.Refusal{Kind: store.BadRows, Reason: store.Other, Err: fmt.Errorf("status 400: partial write: %d of %d are wrong dropped=%d", n, len(lines), n)}
}

// A line that is refused takes no other with it, and each is told of.
func TestBadLinesAreAlone(t *testing.T) {
	for _, bad := range [][]int{nil, {0}, {499}, {250, 251}, {3, 130, 260, 390}} {
		p, s := newScripted(t, Config{}, refusesBad)
		is := map[int]bool{}
		for _, i := range bad {
			is[i] = true
		}
		o := lines(500, func(i int) bool { return is[i] })
		if err := p.PassOn(o); err != nil || o.Refused != len(bad) || len(s.kept) != 500-len(bad) {
			t.Errorf("%v: %v, %d refused, %d kept", bad, err, o.Refused, len(s.kept))
		}
		if want := "1 of 1 are wrong"; len(bad) > 0 && o.Why != want {
			t.Errorf("%v: %q, want %q", bad, o.Why, want)
		}
		if got := *p.Stats(); got != (Stats{Passed: uint64(500 - len(bad)), Refused: uint64(len(bad))}) {
			t.Errorf("%v: %+v", bad, got)
		}
	}
}

// A store that says that it took none of the lines is not asked again; and one that refuses here and there is
// asked only so often.
func TestWritesOfARequestAreFew(t *testing.T) {
	p, s := newScripted(t, Config{}, func(context.Context, []string) error {
		return &store.Refusal{Kind: store.BadRows, All: true, Err: errors.New("status 422: not one")}
	})
	o := lines(100, none)
	if err := p.PassOn(o); err != nil || o.Refused != 100 || o.Why != "not one" || s.writes != 1 {
		t.Errorf("%v, %d refused, %q, %d writes", err, o.Refused, o.Why, s.writes)
	}
	p, s = newScripted(t, Config{}, refusesBad)
	o = lines(4000, func(i int) bool { return i%2 == 0 })
	if err := p.PassOn(o); err != nil || s.writes != mostAttempts || o.Refused+len(s.kept) != 4000 || o.Why == "" {
		t.Errorf("%v, %d writes, %d refused, %d kept, %q", err, s.writes, o.Refused, len(s.kept), o.Why)
	}
}

// A request whose lines are refused so slowly that its client would not wait for the end gets an end.
func TestSlowRefusalsEnd(t *testing.T) {
	p, s := newScripted(t, Config{Timeout: time.Nanosecond}, refusesBad)
	o := lines(100, func(i int) bool { return i == 0 })
	a := attempt{p: p, lines: o.Bytes, ends: o.Ends, most: mostAttempts}
	if err := a.write(0, 100); err != nil || a.refused != 100 || s.writes != 1 {
		t.Errorf("%v, %d refused, %d writes", err, a.refused, s.writes)
	}
}

// Trouble of the store sends clients again, and an operator is told until it has ended.
func TestTroubleOfTheStore(t *testing.T) {
	var why error
	p, s := newScripted(t, Config{}, func(context.Context, []string) error { return why })
	for _, tt := range []struct {
		why  error
		note string
	}{
		{&store.Refusal{Kind: store.Retry, Err: errors.New("it is down")}, "lines that are no positions are not passed on to a: it is down"},
		{&store.Refusal{Kind: store.Configure, Reason: store.Missing, Advice: "make it", Err: errors.New("no bucket")}, "no bucket: make it"},
		{errors.New("it is odd"), "it is odd"},
	} {
		why = tt.why
		o := lines(3, none)
		if err := p.PassOn(o); !errors.Is(err, ingest.ErrUnavailable) || strings.Contains(err.Error(), why.Error()) {
			t.Errorf("%v: %v, want that the client sends again, without the words of the store", tt.why, err)
		}
		if notes := p.Notes(); len(notes) != 1 || !strings.HasSuffix(notes[0], tt.note) {
			t.Errorf("notes %q, want %q", notes, tt.note)
		}
	}
	why = nil
	if err := p.PassOn(lines(3, none)); err != nil || len(p.Notes()) > 0 {
		t.Errorf("%v, notes %q", err, p.Notes())
	}
	if got := *p.Stats(); got != (Stats{Passed: 3, Again: 9}) || len(s.kept) != 3 {
		t.Errorf("%+v, %d kept", got, len(s.kept))
	}
}

// A store that dies between two writes of a request sends the client again.
func TestTroubleInTheMiddle(t *testing.T) {
	writes := 0
	p, _ := newScripted(t, Config{}, func(ctx context.Context, lines []string) error {
		if writes++; writes == 3 {
			return &store.Refusal{Kind: store.Retry, Err: errors.New("it is down")}
		}
		return refusesBad(ctx, lines)
	})
	o := lines(10, func(i int) bool { return i == 9 })
	if err := p.PassOn(o); !errors.Is(err, ingest.ErrUnavailable) || o.Refused != 0 {
		t.Errorf("%v, %d refused", err, o.Refused)
	}
	if err := p.PassOn(o); err != nil || o.Refused != 1 {
		t.Errorf("sent again: %v, %d refused", err, o.Refused)
	}
}

// A store without an answer holds a bounded number of requests, and of bytes; others are told to come
// again at once.
func TestLinesThatWaitAreBounded(t *testing.T) {
	one := lines(1, none)
	release, begun := make(chan struct{}), make(chan struct{}, 100)
	p, s := newScripted(t, Config{Most: 10 * int64(len(one.Bytes))}, func(context.Context, []string) error {
		begun <- struct{}{}
		<-release
		return nil
	})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := p.PassOn(lines(1, none)); err != nil {
				t.Error(err)
			}
		})
	}
	for range mostWrites {
		<-begun
	}
	for end := time.Now().Add(patience); p.room.TryAcquire(1); time.Sleep(time.Millisecond) { // until all ten wait
		p.room.Release(1)
		if time.Now().After(end) {
			t.Fatal("the requests do not wait")
		}
	}
	if err := p.PassOn(lines(1, none)); !errors.Is(err, ingest.ErrUnavailable) {
		t.Error(err)
	}
	if len(begun) > 0 {
		t.Errorf("more than %d writes at once", mostWrites)
	}
	close(release)
	all.Wait()
	if got := *p.Stats(); got != (Stats{Passed: 10, Again: 1}) || s.writes != 10 {
		t.Errorf("%+v, %d writes", got, s.writes)
	}
	if err := p.PassOn(lines(1000, none)); err != nil { // larger than all the room: alone
		t.Error(err)
	}
}

// A frozen store is given up, and a dead one is not asked each time.
func TestFrozenStoreIsLeftAlone(t *testing.T) {
	p, s := newScripted(t, Config{Timeout: 10 * time.Millisecond}, func(ctx context.Context, _ []string) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if err := p.PassOn(lines(1, none)); !errors.Is(err, ingest.ErrUnavailable) || !strings.Contains(fmt.Sprint(p.Notes()), "no answer within 10ms") {
		t.Errorf("%v, notes %q", err, p.Notes())
	}
	asked := 0
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if err := p.PassOn(lines(1, none)); err == nil {
			t.Fatal("passed on")
		}
		s.mu.Lock()
		same := s.writes == asked
		asked = s.writes
		s.mu.Unlock()
		if same {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it was asked %d times", asked)
		}
	}
	if notes := p.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "no answer within 10ms") {
		t.Errorf("notes %q", notes)
	}
}

// A Passer that is off has nothing to tell.
func TestNoPasser(t *testing.T) {
	var p *Passer
	if p.Notes() != nil || p.Stats() != nil || p.Close() != nil {
		t.Error("it tells something")
	}
}
