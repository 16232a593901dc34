package ingest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pingline"
	"pingline/dedupe"
	"pingline/dedupe/intime"
)

// A request's pings are judged in order of time, whatever their order in it, and
// each has its own verdict.
func TestRequestIsJudgedInOrderOfTime(t *testing.T) {
	inTime := madeUp(3, 200)
	want := map[pingline.Ping]pingline.Verdict{}
	for _, name := range []string{"in order", "newest first", "shuffled", "rider by rider", "rider by rider, newest first"} {
		t.Run(name, func(t *testing.T) {
			pings := slices.Clone(inTime)
			switch name {
			case "newest first":
				slices.Reverse(pings)
			case "shuffled":
				rand.New(rand.NewPCG(1, 2)).Shuffle(len(pings), func(i, j int) { pings[i], pings[j] = pings[j], pings[i] })
			case "rider by rider":
				slices.SortStableFunc(pings, func(a, b pingline.Ping) int { return cmp.Compare(a.Rider, b.Rider) })
			case "rider by rider, newest first":
				slices.Reverse(pings)
				slices.SortStableFunc(pings, func(a, b pingline.Ping) int { return cmp.Compare(a.Rider, b.Rider) })
			}
			s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
			for at, v := range s.verdicts(pings) {
				if name == "in order" {
					want[pings[at]] = v
				} else if v != want[pings[at]] {
					t.Fatalf("ping of %s at %d is %v, and %v if the request is in order", pings[at].Rider, pings[at].At, v, want[pings[at]])
				}
			}
			s.flush()
			s.audit()
			if s.writer.stats.Late > 0 {
				t.Errorf("%d pings are late", s.writer.stats.Late)
			}
		})
	}
}

// verdicts sends pings in one request and returns what it is answered.
func (s *site) verdicts(pings []pingline.Ping) []pingline.Verdict {
	s.t.Helper()
	j := &Job{Pings: pings}
	for i := range pings {
		j.Cells = append(j.Cells, testCells.Of(&pings[i].Fix))
	}
	if err := s.writer.prepare(j); err != nil {
		s.t.Fatal(err)
	}
	s.commit(j, false)
	if err := <-j.done; err != nil {
		s.t.Fatal(err)
	}
	s.note(j)
	return j.Verdicts
}

// Of pings of one track and instant, the one that stands first is judged first.
func TestOneInstantIsJudgedAsItStands(t *testing.T) {
	s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
	pings := madeUp(1, 3)
	same := pings[1]
	same.LatE7 += 1e6
	got := fmt.Sprint(s.verdicts([]pingline.Ping{pings[2], pings[1], same, pings[0]}))
	if want := fmt.Sprint([]pingline.Verdict{pingline.Held, pingline.Accepted, pingline.Accepted, pingline.Accepted}); got != want {
		t.Errorf("verdicts %s, want %s", got, want)
	}
	s.write()
	for _, e := range s.store {
		if e.At == same.At && e.Late != e.SamePlace(&same.Fix) {
			t.Errorf("%+v is late: %v", e.Fix, e.Late)
		}
	}
}

// A phone that uploads page by page, the newest page first, among its live pings,
// through crashes, gets one line.
func TestPagesNewestFirstBecomeOneLine(t *testing.T) {
	pings := madeUp(1, 600)
	first, old, live := pings[:100], pings[100:500], pings[500:]
	for _, firstUpload := range []bool{false, true} {
		s := newSite(t, WriterConfig{Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
		if firstUpload {
			old, first = pings[:500], nil
		}
		s.send(first, 10)
		pages := slices.Collect(slices.Chunk(old, 40))
		for n := range live {
			s.send(live[n:n+1], 1)
			if n%5 == 4 && len(pages) > 0 {
				page := slices.Clone(pages[len(pages)-1])
				pages = pages[:len(pages)-1]
				slices.Reverse(page)
				s.send(page, 40)
			}
			if n%20 == 19 {
				s.kill()
				s.start()
			}
		}
		s.flush()
		s.audit()
		for _, e := range s.store {
			if e.Late {
				t.Fatalf("first upload %v: the ping at %d is late", firstUpload, e.At)
			}
		}
	}
}

// The order of a request that is in order costs one look at each ping.
func BenchmarkOrder(b *testing.B) {
	for _, name := range []string{"in order", "newest first", "rider by rider", "shuffled"} {
		pings := madeUp(20, 50)
		switch name {
		case "shuffled":
			rand.New(rand.NewPCG(1, 2)).Shuffle(len(pings), func(i, j int) { pings[i], pings[j] = pings[j], pings[i] })
		case "newest first":
			slices.Reverse(pings)
		case "rider by rider":
			slices.SortStableFunc(pings, func(a, b pingline.Ping) int { return cmp.Compare(a.Rider, b.Rider) })
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var o intime.TimeOrder
			for b.Loop() {
				o = o.InTime(pings)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(pings)), "ns/ping")
		})
	}
}
