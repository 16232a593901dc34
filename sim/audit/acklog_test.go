package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pingline"
	"pingline/sim/audit"
)

// cityAcks returns n pings of a city of so many riders, who take turns, and an answer
// to each.
func cityAcks(t testing.TB, riders, n int) ([]pingline.Ping, []pingline.Verdict) {
	t.Helper()
	c := newCity(t)
	pings, verdicts := make([]pingline.Ping, n), make([]pingline.Verdict, n)
	for i := range pings {
		at := monday + int64(i)*5000/int64(riders)
		pings[i] = c.Ping(i%riders, at-5000, at)
		pings[i].Trip = "" // an audit does not look at it
		verdicts[i] = pingline.Verdict(1 + i*7%3)
	}
	return pings, verdicts
}

func createAckLog(t testing.TB) (*audit.AckLog, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "acks")
	l, err := audit.CreateAckLog(path, audit.AckNotes{Began: time.UnixMilli(monday), Target: "http://here", Command: "sim run"})
	if err != nil {
		t.Fatal(err)
	}
	return l, path
}

func readAcks(t testing.TB, path string) (audit.AckSummary, []audit.Acked) {
	t.Helper()
	var list []audit.Acked
	sum, err := audit.ReadAckFile(path, func(a *audit.Acked) error { list = append(list, *a); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return sum, list
}

// odd are pings that an encoder might get wrong.
func odd() []pingline.Ping {
	long := strings.Repeat("ü", 64)
	p := straight(0)
	numbers := p
	for i := range pingline.Numbers {
		numbers.Known |= 1 << i
		numbers.Numbers()[i] = float32(math.Pi) * float32(i)
	}
	return []pingline.Ping{
		p,
		{Rider: "r"},
		{Rider: long, Device: long, Event: strings.Repeat("e", 32), Fix: pingline.Fix{At: math.MinInt64, LatE7: math.MinInt32, LonE7: math.MaxInt32}},
		{Rider: long, Device: long, Fix: pingline.Fix{At: math.MaxInt64, LatE7: math.MaxInt32, LonE7: math.MinInt32}},
		numbers,
		{Rider: "r", Fix: pingline.Fix{Speed: 1e30, Altitude: float32(math.Inf(-1)), Battery: float32(math.Copysign(0, -1)), Known: 31}},
	}
}

func TestAckLogReturnsEachPing(t *testing.T) {
	l, path := createAckLog(t)
	pings, verdicts := cityAcks(t, 1000, 40_000)
	for i := 0; i < len(pings); i += 100 {
		l.Record(pings[i:i+100], verdicts[i:i+100], 10, 50)
	}
	began := time.Now().UnixMilli()
	l.Record(odd(), nil, 0, 0)
	l.Record(nil, nil, 10, 50)
	if err := l.Close(); err != nil || l.Close() != nil || l.Pings() != uint64(len(pings)+len(odd())) {
		t.Fatalf("%d pings, %v", l.Pings(), err)
	}
	l.Record(pings[:1], nil, 0, 0) // comes too late
	sum, got := readAcks(t, path)
	if !sum.Ended || sum.Torn != 0 || sum.Pings != uint64(len(got)) || !sum.Began.Equal(time.UnixMilli(monday)) || sum.Target != "http://here" || sum.Command != "sim run" {
		t.Errorf("summary %+v", sum)
	}
	for i, p := range append(slices.Clone(pings), odd()...) {
		want := audit.Acked{Ping: p}
		if i < len(pings) {
			want.Verdict, want.MaxError, want.AccuracyCap = verdicts[i], 10, 50
		}
		if i >= len(got) {
			t.Fatalf("%d pings are read, want %d", len(got), len(pings)+len(odd()))
		}
		at := got[i].Answered
		got[i].Answered = 0
		if got[i] != want && fmt.Sprint(got[i]) != fmt.Sprint(want) || at < began-60_000 || at > began+60_000 {
			t.Fatalf("ping %d is read as\n%+v, answered at %d, want\n%+v", i, got[i], at, want)
		}
	}
	size, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perPing := float64(size.Size()) / float64(len(got)); perPing > 25 {
		t.Errorf("%.1f bytes a ping", perPing)
	}
}

func TestAckLogOfManyWriters(t *testing.T) {
	l, path := createAckLog(t)
	const writers, batches, batch = 8, 50, 100
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range batches {
				var pings [batch]pingline.Ping
				var verdicts [batch]pingline.Verdict
				for j := range pings {
					pings[j] = pingline.Ping{Rider: fmt.Sprint("r-", w), Fix: pingline.Fix{At: int64(i*batch + j)}}
					verdicts[j] = pingline.Held
				}
				l.Record(pings[:], verdicts[:], 10, 50)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	next := map[string]int64{}
	_, got := readAcks(t, path)
	for _, a := range got {
		if a.At != next[a.Rider] {
			t.Fatalf("%s sends %d, want %d", a.Rider, a.At, next[a.Rider])
		}
		next[a.Rider]++
	}
	if len(got) != writers*batches*batch {
		t.Errorf("%d pings are read", len(got))
	}
}

// A log that breaks off anywhere, or is damaged anywhere, is read up to there.
func TestAckLogTorn(t *testing.T) {
	l, path := createAckLog(t)
	pings, verdicts := cityAcks(t, 100, 70_000)
	l.Record(pings, verdicts, 10, 50)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (audit.AckSummary, int) {
		n := 0
		sum, err := audit.ReadAckLog(bytes.NewReader(b), func(a *audit.Acked) error {
			if a.Ping != pings[n] {
				t.Fatalf("ping %d is %+v, want %+v", n, a.Ping, pings[n])
			}
			n++
			return nil
		})
		if err != nil {
			t.Fatalf("of %d bytes: %v", len(b), err)
		}
		return sum, n
	}
	seen := map[int]bool{}
	for i := 1; i < len(whole); i += 1 + min(i/3, len(whole)/20) {
		sum, n := read(whole[:i])
		seen[n] = true
		if sum.Ended || sum.Pings != uint64(n) || i < 12 && sum.Torn != int64(i) {
			t.Errorf("%d bytes: %+v", i, sum)
		}
	}
	if sum, n := read(whole[:len(whole)-1]); sum.Ended || sum.Torn == 0 || n != len(pings) {
		t.Errorf("without its last byte: %d pings, %+v", n, sum)
	}
	if !seen[0] || !seen[1<<15] {
		t.Errorf("read up to %v", seen)
	}
	for i := 12; i < len(whole); i += 1 + min(i/3, len(whole)/10) {
		broken := slices.Clone(whole)
		broken[i] ^= 0x10
		if sum, n := read(broken); sum.Ended || sum.Torn == 0 || n == len(pings) && i < len(whole)-100 {
			t.Errorf("byte %d changed: %d pings, %+v", i, n, sum)
		}
	}
	if sum, n := read(append(slices.Clone(whole), make([]byte, 4096)...)); sum.Torn != 4096 || n != len(pings) {
		t.Errorf("with zeros behind it: %d pings, %+v", n, sum)
	}
}

// A writer that is killed leaves all but the last second.
func TestAckLogIsWrittenEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, path := createAckLog(t)
		pings, verdicts := cityAcks(t, 10, 10)
		l.Record(pings, verdicts, 10, 50)
		time.Sleep(time.Second)
		synctest.Wait()
		if sum, got := readAcks(t, path); len(got) != len(pings) || sum.Ended {
			t.Errorf("%d pings after a second, %+v", len(got), sum)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAckLogOverwritesNothing(t *testing.T) {
	l, path := createAckLog(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.CreateAckLog(path, audit.AckNotes{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
}

func TestNoAckLog(t *testing.T) {
	for _, text := range []string{"", "pingsock", `{"rider_id":"r"}`} {
		_, err := audit.ReadAckLog(strings.NewReader(text), func(*audit.Acked) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "--ack-log") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A disk that is full is told by Err and by Close.
func TestAckLogOnAFullDisk(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	l, path := createAckLog(t)
	_ = path
	pings, verdicts := cityAcks(t, 100, 1<<15)
	if err := l.Redirect("/dev/full"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		l.Record(pings, verdicts, 10, 50)
	}
	if err := l.Close(); err == nil || l.Err() == nil {
		t.Errorf("Close: %v", err)
	}
}

type counted uint64

func (c *counted) Record(pings []pingline.Ping, _ []pingline.Verdict, _, _ float32) {
	*c += counted(len(pings))
}

func TestTee(t *testing.T) {
	if r := audit.Tee(nil, nil); r != nil {
		t.Errorf("of nobody: %v", r)
	}
	var a, b counted
	if r := audit.Tee(nil, &a); r != audit.Recorder(&a) {
		t.Errorf("of one: %v", r)
	}
	audit.Tee(&a, nil, &b).Record(make([]pingline.Ping, 3), nil, 0, 0)
	if a != 3 || b != 3 {
		t.Errorf("recorded %d and %d", a, b)
	}
}

func FuzzReadAckLog(f *testing.F) {
	l, path := createAckLog(f)
	pings, verdicts := cityAcks(f, 5, 20)
	l.Record(append(pings, odd()...), append(verdicts, make([]pingline.Verdict, len(odd()))...), 10, 50)
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		n := uint64(0)
		sum, err := audit.ReadAckLog(bytes.NewReader(b), func(*audit.Acked) error { n++; return nil })
		if err == nil && sum.Pings != n {
			t.Errorf("%d pings of %d", n, sum.Pings)
		}
	})
}

func BenchmarkAckLog(b *testing.B) {
	l, path := createAckLog(b)
	pings, verdicts := cityAcks(b, 20_000, 400_000)
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		i := n % len(pings)
		l.Record(pings[i:i+100], verdicts[i:i+100], 10, 50)
		n += 100
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	size, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size.Size())/float64(n), "B/ping")
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "pings/s")
}

// What strangers may have made of a block behind its checksum is refused, or is a block.
func FuzzAckBlock(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0, 0, 32, 65, 0, 0, 72, 66, 1, 1, 0, 'r', 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 2, 4, 6, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := audit.DecodeAckBlock(b)
		if err != nil {
			return
		}
		if twice, err := audit.DecodeAckBlock(again); err != nil || !bytes.Equal(twice, again) {
			t.Errorf("%x is %x, and that is %x, %v", b, again, twice, err)
		}
	})
}

// torn cuts the end off a log.
func torn(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-1)
	}
	if err != nil {
		t.Fatal(err)
	}
}
