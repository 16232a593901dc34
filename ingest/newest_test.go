package ingest

import (
	"fmt"
	"testing"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
)

// oneEach is a ping of each of n riders.
func oneEach(n int, at int64) *Job {
	j := new(Job)
	for i := range n {
		p := pingline.Ping{Rider: fmt.Sprint("r-", i), Fix: pingline.Fix{At: at}}
		if err := p.SetPosition(41+float64(i%100)/1000, -8-float64(i/100)/1000); err != nil {
			panic(err)
		}
		j.Pings = append(j.Pings, p)
		j.Cells = append(j.Cells, testCells.Of(&p.Fix))
	}
	return j
}

// newestAll asks for the newest pings of all tracks, part after part.
func newestAll(t testing.TB, w *Writer, n *NewestPings) (list []dedupe.Newest, parts int) {
	t.Helper()
	for first := true; first || n.Track != 0; first = false {
		if err := w.NewestPings(n); err != nil {
			t.Fatal(err)
		}
		if len(n.List) > newestPart {
			t.Errorf("a part of %d pings, more than %d", len(n.List), newestPart)
		}
		list = append(list, n.List...)
		parts++
	}
	return list, parts
}

func TestNewestPings(t *testing.T) {
	log := testLog(t, queue.Config{})
	w, _ := testWriter(t, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10}})
	const riders = 3*newestPart + 5
	submit(t, w, oneEach(riders, 1000))
	last := log.Last()
	var n NewestPings
	list, parts := newestAll(t, w, &n)
	names := make(map[string]bool)
	for _, one := range list {
		names[one.Name] = one.Fix.At == 1000
	}
	if len(list) != riders || len(names) != riders || parts != 4 {
		t.Errorf("%d pings of %d riders in %d parts, want %d in 4", len(list), len(names), parts, riders)
	}
	n.Since = n.Stamp
	submit(t, w, oneEach(10, 2000))
	if list, _ = newestAll(t, w, &n); len(list) != 10 || list[0].Fix.At != 2000 {
		t.Errorf("since then %d pings, want 10", len(list))
	}
	if log.Last() != last+1 {
		t.Errorf("questions were logged: %d commits", log.Last()-last)
	}
}

// BenchmarkNewestPings asks for all tracks, as for a first look, and for a hundredth of
// them, as each second. The writer judges nothing meanwhile: ms/part is how long it is
// kept from judging.
func BenchmarkNewestPings(b *testing.B) {
	const riders = 500_000
	w, _ := testWriter(b, WriterConfig{Log: testLog(b, queue.Config{}), Bound: dedupe.Bound{MaxError: 10}})
	all := oneEach(riders, 1000)
	for i := 0; i < riders; i += 10_000 {
		submit(b, w, &Job{Pings: all.Pings[i : i+10_000], Cells: all.Cells[i : i+10_000]})
	}
	for _, since := range []uint64{0, riders - riders/100} {
		b.Run(fmt.Sprint("since=", since), func(b *testing.B) {
			b.ReportAllocs()
			n, parts := NewestPings{}, 0
			for b.Loop() {
				n.Since = since
				for first := true; first || n.Track != 0; first = false {
					if err := w.NewestPings(&n); err != nil {
						b.Fatal(err)
					}
					parts++
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(parts), "ms/part")
			b.ReportMetric(float64(parts)/float64(b.N), "parts/op")
		})
	}
}
