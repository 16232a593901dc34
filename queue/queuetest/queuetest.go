// Package queuetest is the suite that the log passes wherever it is kept: in the process, on
// JetStream servers, or on Kafka. It uses what package queue exports, and asks for nothing that a
// place could do only in its own way: damage of files is tested beside each place.
package queuetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pingline/queue"
)

// Patience is how long a test waits for anything.
const Patience = 10 * time.Minute

// Suite is a place that keeps logs.
type Suite struct {
	// Config returns the configuration of a new log, without Dir.
	Config func(t testing.TB) queue.Config

	Shared bool // several nodes can have a log in turn
	Duels  int  // how many owners are deposed
}

// Run runs all tests of the suite.
func (s Suite) Run(t *testing.T) {
	for name, test := range map[string]func(*testing.T, queue.Config){
		"append": testAppend, "limits": testLimits, "trim": testTrim, "unclear": testUnclear, "cursors": testCursors,
	} {
		t.Run(name, func(t *testing.T) { test(t, s.Config(t)) })
	}
	if !s.Shared {
		return
	}
	for name, test := range map[string]func(*testing.T, queue.Config){
		"owners": testOwners, "claimers": testClaimers, "mirror": testMirror,
	} {
		t.Run(name, func(t *testing.T) { test(t, s.Config(t)) })
	}
	s.Duel(t)
}

// Duel has owners deposed in the middle of appends.
func (s Suite) Duel(t *testing.T) {
	t.Run("duels", func(t *testing.T) { duel(t, s.Config(t), s.Duels) })
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// open opens a log that lives as long as the test, or until it is closed.
func open(t testing.TB, cfg queue.Config) *queue.Log {
	t.Helper()
	l, err := tryOpen(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, l) })
	return l
}

func tryOpen(t testing.TB, cfg queue.Config) (*queue.Log, error) {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return queue.Open(testContext(t), cfg)
}

func shut(t testing.TB, l *queue.Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// payload is record n of a test: n, and bytes that follow from it.
func payload(n uint64, size int) []byte {
	b := make([]byte, 0, size+8)
	for ; len(b) < size; n = n*6364136223846793005 + 1442695040888963407 {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return b[:size]
}

func totals(n uint64) queue.Totals { return queue.Totals{n, n * (n + 1) / 2} }

func fill(t testing.TB, l *queue.Log, n, size int) {
	t.Helper()
	for range n {
		next := l.Last() + 1
		got, err := l.Append(testContext(t), payload(next, size), totals(next), false)
		if err != nil || got != next {
			t.Fatalf("Append = %d, %v, want %d", got, err, next)
		}
	}
}

// read reads from record from to record to, which fill has appended.
func read(t testing.TB, l *queue.Log, from, to uint64) {
	t.Helper()
	r, ctx := l.Read(from), testContext(t)
	defer r.Close()
	for next := from; next <= to; next++ {
		rec, err := r.Next(ctx)
		if err != nil || rec.Number != next || rec.Totals != totals(next) || !bytes.Equal(rec.Payload, payload(next, len(rec.Payload))) {
			t.Fatalf("Next = record %d, %v, want %d as it was appended", rec.Number, err, next)
		}
	}
}

// whole reads all there is, as one history without a gap, and returns the payloads by number.
func whole(t testing.TB, l *queue.Log) map[uint64]string {
	t.Helper()
	r, ctx, all := l.Read(l.First()), testContext(t), map[uint64]string{}
	defer r.Close()
	var last queue.Record
	for next := l.First(); next <= l.Last(); next++ {
		rec, err := r.Next(ctx)
		if err != nil || rec.Number != next {
			t.Fatalf("Next = record %d, %v, want %d", rec.Number, err, next)
		}
		if last.Number > 0 && (rec.Before != last.Totals || rec.Epoch < last.Epoch) {
			t.Fatalf("record %d has totals %v before it and epoch %d, behind %v and epoch %d", next, rec.Before, rec.Epoch, last.Totals, last.Epoch)
		}
		all[next], last = string(rec.Payload), rec
	}
	return all
}

func testAppend(t *testing.T, cfg queue.Config) {
	cfg.Dir, cfg.CacheBytes = t.TempDir(), 1 // all reads are from the place itself
	l := open(t, cfg)
	if l.First() != 1 || l.Last() != 0 {
		t.Fatalf("a new log reaches from %d to %d", l.First(), l.Last())
	}
	fill(t, l, 40, 100)
	fill(t, l, 10, 200_000)
	read(t, l, 1, 50)
	read(t, l, 37, 50)
	later := make(chan error, 1)
	r := l.Read(51)
	defer r.Close()
	go func() {
		rec, err := r.Next(testContext(t))
		if err == nil && rec.Number != 51 {
			err = fmt.Errorf("record %d", rec.Number)
		}
		later <- err
	}()
	fill(t, l, 1, 10)
	if err := <-later; err != nil {
		t.Fatalf("a reader at the head: %v", err)
	}
	bytes := l.Bytes()
	for range 2 {
		shut(t, l)
		l = open(t, cfg)
		if l.First() != 1 || l.Last() != 51 || l.LastTotals() != totals(51) || l.Bytes() != bytes || len(l.Damage()) > 0 {
			t.Fatalf("reopened: %d to %d, totals %v, %d bytes, damage %v; before %d bytes", l.First(), l.Last(), l.LastTotals(), l.Bytes(), l.Damage(), bytes)
		}
		read(t, l, 1, 51)
	}
	fill(t, l, 5, 100)
	read(t, l, 1, 56)
}

func testLimits(t *testing.T, cfg queue.Config) {
	cfg.MaxBytes, cfg.Reserve = 4<<20, 1<<20
	l := open(t, cfg)
	if _, err := l.Append(testContext(t), make([]byte, l.MaxPayload()+1), queue.Totals{}, true); !errors.Is(err, queue.ErrTooLarge) {
		t.Fatalf("Append of too much: %v", err)
	}
	size := min(l.MaxPayload(), 1<<20-1<<14)
	var err error
	for err == nil {
		next := l.Last() + 1
		_, err = l.Append(testContext(t), payload(next, size), totals(next), false)
	}
	if !errors.Is(err, queue.ErrFull) || l.Last() != 3 {
		t.Fatalf("after %d records: %v", l.Last(), err)
	}
	if _, err := l.Append(testContext(t), payload(4, 1<<10), totals(4), true); err != nil {
		t.Fatalf("Append with the reserve: %v", err)
	}
	if err := l.Trim(3); err != nil || l.First() != 3 {
		t.Fatalf("Trim: %v, and the log begins at %d", err, l.First())
	}
	fill(t, l, 1, size)
	read(t, l, 3, 5)
}

func testTrim(t *testing.T, cfg queue.Config) {
	cfg.Dir, cfg.MaxBytes, cfg.CacheBytes = t.TempDir(), 8<<20, 1
	l := open(t, cfg)
	fill(t, l, 60, 100_000)
	slow := l.Read(1)
	defer slow.Close()
	if rec, err := slow.Next(testContext(t)); err != nil || rec.Number != 1 {
		t.Fatalf("Next = %d, %v", rec.Number, err)
	}
	l.SetCursor("reader", queue.Cursor{Next: 41, Totals: totals(40)})
	if first, err := l.Drop(); err != nil || first != 41 {
		t.Fatalf("Drop = %d, %v", first, err)
	}
	if l.Bytes() > 20*101_000 {
		t.Errorf("20 records of 100 kB take %d bytes", l.Bytes())
	}
	read(t, l, 41, 60)
	shut(t, l)
	l = open(t, cfg)
	if l.First() != 41 || l.Last() != 60 || len(l.Damage()) > 0 {
		t.Fatalf("reopened: %d to %d, damage %v", l.First(), l.Last(), l.Damage())
	}
	r := l.Read(7)
	defer r.Close()
	if rec, err := r.Next(testContext(t)); err != nil || rec.Number != 41 {
		t.Fatalf("a reader of what was trimmed: record %d, %v", rec.Number, err)
	}
	fill(t, l, 20, 100_000)
	read(t, l, 41, 80)
}

func testUnclear(t *testing.T, cfg queue.Config) {
	l := open(t, cfg)
	fill(t, l, 3, 100)
	acked, unclear := map[uint64]string{}, map[string]bool{}
	for i := range 40 {
		ctx, cancel := context.WithCancel(testContext(t))
		if i%2 == 0 {
			go cancel() // at any time
		}
		if i%4 == 1 {
			cancel()
		}
		text := fmt.Sprint("append ", i)
		n, err := l.Append(ctx, []byte(text), queue.Totals{}, false)
		cancel()
		switch {
		case err == nil:
			acked[n] = text
			continue
		case !errors.Is(err, queue.ErrUnclear):
			t.Fatalf("Append = %d, %v", n, err)
		}
		unclear[text] = true
		last, _, err := l.Settle(testContext(t), []byte("settled"))
		if err != nil || last != l.Last() {
			t.Fatalf("Settle = %d, %v, and the log ends at %d", last, err, l.Last())
		}
	}
	times := map[string]int{}
	all := whole(t, l)
	for n, text := range acked {
		if all[n] != text {
			t.Errorf("record %d is %q, acknowledged was %q", n, all[n], text)
		}
	}
	for _, text := range all {
		if times[text]++; unclear[text] && times[text] > 1 {
			t.Errorf("%q is there twice", text)
		}
	}
}

func testCursors(t *testing.T, cfg queue.Config) {
	cfg.Dir = t.TempDir()
	l := open(t, cfg)
	fill(t, l, 5, 10)
	l.SetCursor("a", queue.Cursor{Next: 3, Totals: totals(2)})
	if err := l.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	l.SetCursor("a", queue.Cursor{Next: 4, Totals: totals(3)})
	shut(t, l)
	l = open(t, cfg)
	if c, ok := l.Cursor("a"); !ok || c.Next != 4 || c.Totals != totals(3) {
		t.Errorf("the cursor is %v, %v", c, ok)
	}
}

// takeOver opens the log of cfg for another node, whatever the present owner says.
func takeOver(t testing.TB, cfg queue.Config, node string) *queue.Log {
	t.Helper()
	cfg.Dir, cfg.Node, cfg.Idle = t.TempDir(), node, func(uint64) bool { return true }
	for limit := time.Now().Add(Patience); ; {
		l, err := tryOpen(t, cfg)
		if err != nil && time.Now().Before(limit) { // that owner has just renewed its hold, or a server is away
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { shut(t, l) })
		return l
	}
}

func testOwners(t *testing.T, cfg queue.Config) {
	cfg.Node = "a"
	cfg.Dir = t.TempDir()
	a := open(t, cfg)
	fill(t, a, 10, 100)
	a.SetCursor("reader", queue.Cursor{Next: 6, Totals: totals(5)})
	if err := a.KeepCursors(); err != nil {
		t.Fatal(err)
	}
	second := cfg
	second.Dir, second.Node, second.Idle = t.TempDir(), "b", func(uint64) bool { return false }
	second.MaxBytes = 64 << 20
	if l, err := queue.Open(testContext(t), second); !errors.Is(err, queue.ErrOwned) {
		t.Fatalf("a second owner: %v, %v", l, err)
	}
	b := takeOver(t, cfg, "b")
	if err := b.Claim(testContext(t), []byte("claim")); err != nil {
		t.Fatal(err)
	}
	if c, ok := b.Cursor("reader"); !ok || c.Next != 6 {
		t.Errorf("the next owner has the cursor %v, %v", c, ok)
	}
	// The first does not know it yet: nothing of it counts.
	if n, err := a.Append(testContext(t), []byte("late"), queue.Totals{}, false); err == nil {
		t.Fatalf("the owner before had record %d acknowledged", n)
	}
	if _, _, err := a.Settle(testContext(t), []byte("settled")); !errors.Is(err, queue.ErrOwned) {
		t.Fatalf("the owner before settles: %v", err)
	}
	if err := a.WaitLost(testContext(t)); !errors.Is(err, queue.ErrOwned) {
		t.Fatalf("WaitLost = %v", err)
	}
	read(t, b, 1, 10)
	if b.Last() != 11 {
		t.Errorf("the log ends at %d", b.Last())
	}
	shut(t, b)
	cfg.Node, cfg.Dir = "c", t.TempDir() // b has let it go
	c := open(t, cfg)
	if c.Last() != 11 || len(c.Damage()) > 0 {
		t.Errorf("the third owner has %d records, damage %v", c.Last(), c.Damage())
	}
}

// Two nodes claim a log at the same time, again and again: all that was acknowledged stays.
func testClaimers(t *testing.T, cfg queue.Config) {
	acked := map[uint64]string{}
	for round := range 8 {
		ends := make(chan map[uint64]string)
		var logs [2]*queue.Log
		for i := range logs {
			logs[i] = takeOver(t, cfg, fmt.Sprint("n", i))
		}
		for i, l := range logs {
			go func() {
				mine := map[uint64]string{}
				defer func() { ends <- mine }()
				if l.Claim(testContext(t), []byte("claim")) != nil {
					return
				}
				for k := range 20 {
					text := fmt.Sprint("round ", round, " node ", i, " append ", k)
					n, err := l.Append(testContext(t), []byte(text), queue.Totals{}, false)
					if err == nil {
						mine[n] = text
					} else if _, _, err := l.Settle(testContext(t), []byte("settled")); err != nil {
						return
					}
				}
			}()
		}
		for range logs {
			for n, text := range <-ends {
				if was, ok := acked[n]; ok {
					t.Fatalf("record %d was acknowledged as %q and as %q", n, was, text)
				}
				acked[n] = text
			}
		}
		for _, l := range logs {
			shut(t, l)
		}
	}
	all := whole(t, takeOver(t, cfg, "last"))
	for n, text := range acked {
		if all[n] != text {
			t.Errorf("record %d is %q, acknowledged was %q", n, all[n], text)
		}
	}
	if len(acked) == 0 {
		t.Error("nothing was acknowledged")
	}
}

func testMirror(t *testing.T, cfg queue.Config) {
	l, dir := takeOver(t, cfg, "a"), t.TempDir()
	paths := func(list ...string) (all []string) {
		for _, name := range list {
			all = append(all, filepath.Join(dir, name))
		}
		return all
	}
	for i, name := range []string{"1", "2", "3"} {
		if err := os.WriteFile(filepath.Join(dir, name), payload(uint64(i), 1<<20*(i+1)+i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range [][]string{paths("1"), paths("2", "1"), paths("3", "2")} {
		if err := l.Mirror(testContext(t), list); err != nil {
			t.Fatal(err)
		}
	}
	next := takeOver(t, cfg, "b")
	for range 2 {
		there := t.TempDir()
		if err := next.Fetch(testContext(t), there); err != nil {
			t.Fatal(err)
		}
		found, err := os.ReadDir(there)
		if err != nil || len(found) != 2 {
			t.Fatalf("fetched %v, %v", found, err)
		}
		for _, name := range []string{"2", "3"} {
			got, _ := os.ReadFile(filepath.Join(there, name))
			want, _ := os.ReadFile(filepath.Join(dir, name))
			if !bytes.Equal(got, want) {
				t.Errorf("file %s has %d bytes, not the %d that were copied", name, len(got), len(want))
			}
		}
	}
	if err := next.Unmirror(testContext(t), filepath.Join(dir, "3")); err != nil {
		t.Fatal(err)
	}
	there := t.TempDir()
	if err := next.Fetch(testContext(t), there); err != nil {
		t.Fatal(err)
	}
	if found, _ := os.ReadDir(there); len(found) != 1 {
		t.Errorf("fetched %v after the other was removed", found)
	}
}
