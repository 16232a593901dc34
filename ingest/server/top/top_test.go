package top

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pingline"
)

func clientOf(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}) }

// Who sends much is found among ten thousand who send little, and no count is more than
// was sent.
func TestWhoSendsMost(t *testing.T) {
	var s Senders
	now := time.Now()
	loud := make([]pingline.Ping, 500)
	for i := range loud {
		loud[i].Rider = "loud"
		if i%5 == 0 {
			loud[i].Rider = fmt.Sprint("passenger-", i)
		}
	}
	for n := range 10_000 {
		s.Pings(clientOf(n), []pingline.Ping{{Rider: fmt.Sprint("r-", n)}}, now)
		if n%100 == 0 {
			s.Pings(netip.MustParseAddr("203.0.113.7"), loud, now)
		}
	}
	notes := s.Notes(now.Add(40 * time.Second))
	if len(notes) != 2 || !strings.HasPrefix(notes[0], "clients that send most of the pings: 203.0.113.7 50000 (83 %)") ||
		!strings.HasPrefix(notes[1], `riders of most of the pings: "loud" `) {
		t.Fatalf("notes %q", notes)
	}
	var n, share int
	if _, err := fmt.Sscanf(strings.TrimPrefix(notes[1], `riders of most of the pings: "loud" `), "%d (%d", &n, &share); err != nil || share < 55 || share > 75 {
		t.Errorf("of 60,000 pings 40,000 are loud's: %s", notes[1])
	}
	if notes := s.Notes(now.Add(2 * time.Minute)); len(notes) != 0 {
		t.Errorf("two minutes later: %q", notes)
	}
}

// What a name has for sure is never more than it sent, and one with more than 1/32 of all
// is there.
func TestSketch(t *testing.T) {
	var s sketch[int]
	sent := map[int]int{}
	add := func(name, n int) {
		sent[name] += n
		s.add(name, n, func(k int) int { return k })
	}
	for i := range 100_000 {
		add(i%5000, 1)
		if i%20 == 0 {
			add(-1, 2)
		}
	}
	list, all := most(kept, &s)
	found := false
	for _, c := range list {
		found = found || c.name == -1
		if c.sure() > sent[c.name] || c.count < sent[c.name] {
			t.Errorf("%d: %d to %d, sent %d", c.name, c.sure(), c.count, sent[c.name])
		}
	}
	if !found || all != 110_000 {
		t.Errorf("found %v of %d: %+v", found, all, list)
	}
}

// The log has one line for a crowd that is refused, and the next one ten seconds later.
func TestOverARate(t *testing.T) {
	var text bytes.Buffer
	s := Senders{Logger: slog.New(slog.NewTextHandler(&text, nil))}
	now := time.Now()
	s.Refused(clientOf(1), "", now)
	if text.Len() > 0 {
		t.Errorf("of no rate: %s", &text)
	}
	for i := range 10_000 {
		client := clientOf(i % 500)
		if i%2 == 0 {
			client = clientOf(9999)
		}
		s.Refused(client, "this client is over the rate", now.Add(time.Duration(i)*time.Millisecond))
	}
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("%d lines:\n%s", n, &text)
	}
	text.Reset()
	s.Refused(clientOf(3), "every rider", now.Add(10*time.Second))
	for _, want := range []string{`limit="every rider"`, "client=192.0.0.3", `most_refused="192.0.39.15 50`, "refused_requests=10002"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s: want %s", &text, want)
		}
	}
}

// Names that come once each take no memory for good.
func BenchmarkPings(b *testing.B) {
	var s Senders
	now := time.Now()
	list := make([]pingline.Ping, 100)
	for i := range list {
		list[i].Rider = fmt.Sprint("rider-", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		s.Pings(clientOf(i), list, now)
	}
	b.ReportMetric(float64(b.N*len(list))/b.Elapsed().Seconds(), "pings/s")
}

func TestWhoBringsMost(t *testing.T) {
	var b Bringers
	now := time.Now()
	client := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}) }
	for n := range 10_000 {
		b.Note(client(n%1000), 1, 0, now)
		if n%4 == 0 {
			b.Note(client(7777), 4, 0, now)
		}
	}
	if got := b.Most(5000, "", now); !strings.HasPrefix(got, "client 192.0.30.97 brought ") {
		t.Errorf("note %q", got)
	}
	if got := b.Most(20_000, "", now); got != "" {
		t.Errorf("note %q where that is usual", got)
	}
	if got := b.Most(5000, "", now.Add(90*time.Second)); got == "" {
		t.Error("no note within the next minute")
	}
	if got := b.Most(5000, "", now.Add(5*time.Minute)); got != "" {
		t.Errorf("note %q later", got)
	}
	b.Note(client(5), 10, 3, now.Add(5*time.Minute))
	if got := b.Most(5000, "", now.Add(5*time.Minute)); !strings.Contains(got, "192.0.0.5") {
		t.Errorf("note %q of one who may bring no more", got)
	}
}
