package audit

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"pingline"
)

func TestLedgerIsCompact(t *testing.T) {
	if n := unsafe.Sizeof(auditRecord{}); n > 56 {
		t.Errorf("a ping takes %d bytes", n)
	}
}

func TestEmptyLedger(t *testing.T) {
	l := NewLedger()
	if first, last := l.Span(); l.Len() != 0 || first <= last {
		t.Errorf("%d pings from %d to %d", l.Len(), first, last)
	}
}

func TestLedgerGrowsPastItsChunks(t *testing.T) {
	l := NewLedger()
	const n = 3*recordsChunk + 5
	p := pingline.Ping{Rider: "r-1"}
	for i := range n {
		p.At = int64(i * 7 % n)
		p.LatE7 = int32(i)
		l.Add(&p, pingline.Accepted, 10, 50)
	}
	if first, last := l.Span(); l.Len() != n || first != 0 || last != n-1 {
		t.Errorf("%d pings from %d to %d, added %d", l.Len(), first, last, n)
	}
	for _, i := range []uint32{0, recordsChunk - 1, recordsChunk, n - 1} {
		if got := l.pings.at(i).lat; got != int32(i) {
			t.Errorf("ping %d is ping %d", i, got)
		}
	}
}

func TestLedgerTakesTheLargerBound(t *testing.T) {
	for _, tt := range []struct {
		name          string
		accuracy      float32
		known         pingline.Known
		maxError, cap float32
		want          float32
	}{
		{"accuracy unknown", 0, 0, 10, 50, 10},
		{"a good fix", 4, pingline.HasAccuracy, 10, 50, 10},
		{"a bad fix", 30, pingline.HasAccuracy, 10, 50, 30},
		{"a fix beyond the cap", 300, pingline.HasAccuracy, 10, 50, 50},
		{"no cap", 300, pingline.HasAccuracy, 10, 0, 10},
		{"an overloaded ingester", 30, pingline.HasAccuracy, 40, 50, 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := NewLedger()
			p := pingline.Ping{Rider: "r-1", Fix: pingline.Fix{Accuracy: tt.accuracy, Known: tt.known}}
			l.Add(&p, pingline.Held, tt.maxError, tt.cap)
			if got := l.pings.at(0).bound; got != tt.want {
				t.Errorf("bound %g, not %g", got, tt.want)
			}
		})
	}
}

func TestLedgerTellsEventsApart(t *testing.T) {
	l := NewLedger()
	l.Add(&pingline.Ping{Rider: "r-1"}, pingline.Accepted, 10, 50)
	seen := map[uint16]string{}
	for i := range 70_000 {
		name := fmt.Sprint("e", i)
		id := l.eventID(name)
		if other, ok := seen[id]; ok && id != maxEvents || id == 0 {
			t.Fatalf("events %s and %s are both %d", name, other, id)
		}
		seen[id] = name
		if l.eventID(name) != id {
			t.Fatalf("event %s has two numbers", name)
		}
	}
}

func TestLedgerNamesItsRiders(t *testing.T) {
	l := NewLedger()
	for _, p := range []pingline.Ping{{Rider: "b"}, {Rider: "a", Device: "x"}, {Rider: "b", Device: "y"}, {Rider: "a", Device: "x"}} {
		l.Add(&p, pingline.Accepted, 10, 50)
	}
	if got := l.Riders(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("riders %q", got)
	}
}
