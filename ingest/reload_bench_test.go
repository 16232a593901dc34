package ingest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"pingline"
	"pingline/dedupe"
	"pingline/queue"
)

// crowd makes pings of riders on the move, each in its turn, 5 s apart.
type crowd struct {
	rng   *rand.Rand
	names []string
	lat   []int32
	lon   []int32
	step  [][2]int32
	next  int
	round int64
}

func newCrowd(riders int) *crowd {
	c := &crowd{rng: rand.New(rand.NewPCG(1, 2)), step: make([][2]int32, riders)}
	for i := range riders {
		c.names = append(c.names, fmt.Sprintf("r-%06d", i))
		c.lat = append(c.lat, 411_000_000+c.rng.Int32N(1_000_000))
		c.lon = append(c.lon, -86_000_000+c.rng.Int32N(1_000_000))
	}
	return c
}

// fill makes j's pings the next of the crowd.
func (c *crowd) fill(j *Job, pings int) {
	j.Pings, j.Cells = j.Pings[:0], j.Cells[:0]
	for range pings {
		i := c.next
		if c.next++; c.next == len(c.names) {
			c.next = 0
			c.round++
		}
		if c.rng.Uint32()%8 == 0 { // turns a corner
			c.step[i] = [2]int32{c.rng.Int32N(10_000) - 5000, c.rng.Int32N(10_000) - 5000}
		}
		c.lat[i] += c.step[i][0] + c.rng.Int32N(256) - 128
		c.lon[i] += c.step[i][1] + c.rng.Int32N(256) - 128
		j.Pings = append(j.Pings, pingline.Ping{Rider: c.names[i], Trip: "trip-0001", Fix: pingline.Fix{
			At: t0 + c.round*5000, LatE7: c.lat[i], LonE7: c.lon[i],
			Speed: 10, Heading: 90, Accuracy: 5, Known: pingline.HasSpeed | pingline.HasHeading | pingline.HasAccuracy,
		}})
		j.Cells = append(j.Cells, 0x8539220ffffffff)
	}
}

// BenchmarkReplay is a start that has to read ten million entries of the log, in
// commits of 100 pings.
func BenchmarkReplay(b *testing.B) {
	for _, riders := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("%d riders", riders), func(b *testing.B) {
			if testing.Short() {
				b.Skip("a log of ten million entries takes minutes to write")
			}
			dir := b.TempDir()
			entries := fillLog(b, dir, riders, 10_000_000)
			for b.Loop() {
				b.StopTimer()
				log, err := queue.Open(context.Background(), queue.Config{Dir: dir, MaxBytes: 64 << 30})
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				w, err := OpenWriter(context.Background(), WriterConfig{Log: log, Filter: dedupe.DefaultConfig()})
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if n := w.Stats().Riders; n != riders {
					b.Errorf("%d riders are known, want %d", n, riders)
				}
				if err := log.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// fillLog makes a log of at least so many entries in dir, and returns how many.
func fillLog(b *testing.B, dir string, riders, least int) (entries int) {
	b.Helper()
	log, err := queue.Open(context.Background(), queue.Config{Dir: dir, MaxBytes: 64 << 30})
	if err != nil {
		b.Fatal(err)
	}
	w, stop := testWriter(b, WriterConfig{Log: log, Bound: dedupe.Bound{MaxError: 10, AccuracyCap: 50}})
	c, j := newCrowd(riders), new(Job)
	for entries < least {
		c.fill(j, 100)
		submit(b, w, j)
		entries = int(log.LastTotals()[pingline.TotalPings] + w.Stats().Promoted)
	}
	b.Logf("%d entries in %d commits, %d bytes; %+v", entries, log.Last(), log.Bytes(), w.Stats().PingCounts)
	stop()
	if err := log.Close(); err != nil {
		b.Fatal(err)
	}
	return entries
}
