package forward

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pingline"
	"pingline/dedupe"
	"pingline/ingest"
	"pingline/partition"
	"pingline/queue"
)

var quiet = slog.New(slog.DiscardHandler)

// writer opens and runs a writer on a log of its own until the test ends.
func writer(t testing.TB) (*ingest.Writer, *queue.Log) {
	t.Helper()
	log, err := queue.Open(context.Background(), queue.Config{Dir: t.TempDir(), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	w, err := ingest.OpenWriter(context.Background(), ingest.WriterConfig{Log: log, Logger: quiet, Filter: dedupe.DefaultConfig(), Bound: dedupe.Bound{MaxError: 10}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, log
}

// pingsIn returns how often each ping is in a log, by rider and time.
func pingsIn(t testing.TB, log *queue.Log) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	if log.Last() == 0 {
		return seen
	}
	r := log.Read(log.First())
	defer r.Close()
	for number := uint64(0); number < log.Last(); {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		rec, err := r.Next(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		number = rec.Number
		_, es, err := pingline.DecodeCommit(rec.Payload)
		if err != nil {
			t.Fatal(err)
		}
		var e pingline.Entry
		for {
			ok, err := es.Next(&e)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if !e.Promoted {
				seen[fmt.Sprint(e.Rider, " ", e.At)]++
			}
		}
	}
	return seen
}

// Two nodes with logs of their own take requests of the same riders: each ping is in the log of its part, once, and
// the counts of each node sum up.
func TestTwoWriters(t *testing.T) {
	ns := newNodes(t, 2)
	var writers [2]*ingest.Writer
	var logs [2]*queue.Log
	for p := range 2 {
		writers[p], logs[p] = writer(t)
	}
	for p := range 2 {
		ns.add(p, writers[p].Submit, nil)
	}
	const senders, requests, riders = 8, 10, 5
	var received [2]uint64
	var all sync.WaitGroup
	var mu sync.Mutex
	for s := range senders {
		all.Go(func() {
			for k := range requests {
				node, j := (s+k)%2, new(ingest.Job)
				for i := range riders {
					for n := range 4 {
						p := pingline.Ping{Rider: fmt.Sprintf("r-%d-%d", s, i), Fix: pingline.Fix{At: t0 + int64(k*4+n)*1000, LatE7: int32(410000000 + n%2*10000), LonE7: -80000000}}
						j.Pings, j.Cells = append(j.Pings, p), append(j.Cells, 0x85392a8ffffffff)
					}
				}
				for again := range 2 {
					if err := ns.list[node].Submit(j); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					received[node] += uint64(len(j.Pings))
					mu.Unlock()
					for i, v := range j.Verdicts {
						if again == 1 && v != pingline.Duplicate && v != pingline.Redundant {
							t.Errorf("ping %d sent again is %v", i, v)
						}
					}
				}
			}
		})
	}
	all.Wait()
	total := 0
	for p := range 2 {
		seen := pingsIn(t, logs[p])
		total += len(seen)
		for ping, n := range seen {
			var rider string
			if _, err := fmt.Sscan(ping, &rider); err != nil || partition.Part(rider, 2) != p || n != 1 {
				t.Errorf("ping %s is %d times in the log of part %d", ping, n, p)
			}
		}
		s := ns.list[p].Stats()
		var verdicts, sent uint64
		for v, n := range writers[p].Stats().Verdicts {
			verdicts, sent = verdicts+n, sent+s.Sent[v]
		}
		if received[p]+s.Taken+s.Unanswered != verdicts+sent || sent == 0 || s.Taken == 0 {
			t.Errorf("node %d: received %d, taken %d, unanswered %d, judged %d, sent %d", p, received[p], s.Taken, s.Unanswered, verdicts, sent)
		}
	}
	if want := senders * requests * riders * 4; total != want {
		t.Errorf("%d pings are in the logs, %d were answered", total, want)
	}
}

// A job that its owner cannot begin in time is not judged later.
func TestOwnerIsBusy(t *testing.T) {
	w, _ := writer(t)
	ns := newNodes(t, 2)
	busy, open := make(chan struct{}), make(chan struct{})
	ns.add(1, func(j *ingest.Job) error {
		if j.Patience > patience/2 { // the first
			close(busy)
			<-open
			j.Patience = 1
		}
		return w.Submit(j)
	}, nil)
	f := ns.add(0, new(judge).Submit, nil)
	done := make(chan error, 1)
	go func() { done <- f.Submit(jobOf(ridersOf(1, 2, 1), 5)) }()
	<-busy
	close(open)
	err := <-done
	if err == nil || w.Stats().Verdicts != [pingline.Verdicts]uint64{} {
		t.Errorf("%v: a job was judged after its patience: %v", err, w.Stats().Verdicts)
	}
}

func benchmark(b *testing.B, pings, senders int, of int, local func(*testing.B) func(*ingest.Job) error) {
	ns := newNodes(b, 2)
	ns.add(1, local(b), nil)
	f := ns.add(0, local(b), nil)
	b.ReportAllocs()
	var all sync.WaitGroup
	began := time.Now()
	n := max(1, b.N/pings/senders)
	for s := range senders {
		all.Go(func() {
			j := new(ingest.Job)
			for i, r := range ridersOf(of, 2, (s+1)*pings)[s*pings:] {
				j.Pings = append(j.Pings, pingline.Ping{Rider: r, Device: "phone", Fix: pingline.Fix{At: t0, LatE7: 410000000, LonE7: int32(-80000000 - i), Speed: 3, Known: pingline.HasSpeed}})
				j.Cells = append(j.Cells, 0x85392a8ffffffff)
			}
			for k := range n {
				for i := range j.Pings {
					j.Pings[i].At = t0 + int64(k)*1000
				}
				if err := f.Submit(j); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	b.ReportMetric(float64(n*pings*senders)/took.Seconds(), "pings/s")
	if s := f.Stats(); s.Messages > 0 {
		b.ReportMetric(float64(s.Jobs)/float64(s.Messages), "jobs/message")
	}
}

func BenchmarkSubmit(b *testing.B) {
	for name, local := range map[string]func(*testing.B) func(*ingest.Job) error{
		"nothing": func(*testing.B) func(*ingest.Job) error {
			return func(j *ingest.Job) error {
				j.Verdicts = j.Verdicts[:0]
				for range j.Pings {
					j.Verdicts = append(j.Verdicts, pingline.Accepted)
				}
				return nil
			}
		},
		"writer": func(b *testing.B) func(*ingest.Job) error { w, _ := writer(b); return w.Submit },
	} {
		for of, part := range []string{"local", "forwarded"} {
			b.Run(fmt.Sprintf("%s/%s/100 pings", name, part), func(b *testing.B) { benchmark(b, 100, 1, of, local) })
			b.Run(fmt.Sprintf("%s/%s/100 pings, 8 senders", name, part), func(b *testing.B) { benchmark(b, 100, 8, of, local) })
			b.Run(fmt.Sprintf("%s/%s/1 ping, 64 senders", name, part), func(b *testing.B) { benchmark(b, 1, 64, of, local) })
		}
	}
}
